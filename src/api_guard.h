// What every file of the C ABI's functions needs: exceptions become a status and this thread's message.
#pragma once

#include <algorithm>
#include <cstddef>
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

// A caller with a newer header may pass larger structs, but must not use what this library would silently ignore.
template <class T>
void refuse_unknown_fields(const T* given, const char* name) {
  if (given == nullptr || given->struct_size <= sizeof(T)) return;
  const char* const bytes = reinterpret_cast<const char*>(given);
  if (std::any_of(bytes + sizeof(T), bytes + given->struct_size, [](char byte) { return byte != 0; }))
    unsupported(name, ".struct_size=", given->struct_size, ": sets a field that nearfield ", nf_version(),
                ", whose struct has ", sizeof(T), " bytes, does not know");
}

}  // namespace nearfield::core
