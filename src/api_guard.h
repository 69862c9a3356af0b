// What every file of the C ABI's functions needs: exceptions become a status and this thread's message.
#pragma once

#include <exception>
#include <new>
#include <stdexcept>

#include "base/error.h"
#include "nearfield/nearfield.h"

namespace nearfield::core {

// Keeps the message for nf_last_error() of this thread; returns the status.
nf_status keep_failure(nf_status status, const char* message) noexcept;

// Runs the body of a function that can fail.
template <class Body>
nf_status guarded(Body&& body) noexcept {
  try {
    body();
    return NF_OK;
  } catch (const Error& error) {
    return keep_failure(static_cast<nf_status>(error.status()), error.what());
  } catch (const std::bad_alloc&) {
    return keep_failure(NF_OUT_OF_MEMORY, "out of memory");
  } catch (const std::length_error&) {  // a container larger than any memory
    return keep_failure(NF_OUT_OF_MEMORY, "out of memory");
  } catch (const std::exception& error) {
    return keep_failure(NF_INTERNAL_ERROR, error.what());
  } catch (...) {
    return keep_failure(NF_INTERNAL_ERROR, "an exception of unknown type");
  }
}

template <class T>
void require(const T* pointer, const char* name) {
  if (pointer == nullptr) invalid_argument(name, ": must not be NULL");
}

}  // namespace nearfield::core
