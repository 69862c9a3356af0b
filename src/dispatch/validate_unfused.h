// Arguments of the unfused operators (unfused.h), checked once: the C structs become an UnfusedProblem and the products
// that make up the operator, or an Error(Status::invalid_argument). What views look like afterwards: validate.h.
#pragma once

#include "engine/unfused/unfused.h"
#include "nearfield/nearfield.h"

namespace nearfield::core {

struct QkCall {
  UnfusedProblem problem;
  PairsCall pairs;  // the forward
  // The backward; null outputs are not wanted.
  GatherCall dquery;
  ScatterCall dkey;
  BiasCall dbias;
};

struct AvCall {
  UnfusedProblem problem;
  GatherCall out;      // the forward
  PairsCall dweights;  // the backward, likewise
  ScatterCall dvalue;
};

QkCall validate_qk(const nf_pattern* pattern, const nf_tensor* query, const nf_tensor* key,
                   const nf_modifiers* modifiers, const nf_options* options, const nf_tensor* weights);
QkCall validate_qk_backward(const nf_pattern* pattern, const nf_tensor* query, const nf_tensor* key,
                            const nf_modifiers* modifiers, const nf_options* options, const nf_tensor* dweights,
                            const nf_qk_gradients* gradients);
AvCall validate_av(const nf_pattern* pattern, const nf_tensor* weights, const nf_tensor* value,
                   const nf_modifiers* modifiers, const nf_options* options, const nf_tensor* out);
AvCall validate_av_backward(const nf_pattern* pattern, const nf_tensor* weights, const nf_tensor* value,
                            const nf_modifiers* modifiers, const nf_options* options, const nf_tensor* dout,
                            const nf_av_gradients* gradients);

// Of a problem that nf_forward would take: its weights, which must not share memory with `outputs` or inputs. Also
// what is needed where weights are not asked for: `weights` may be null.
TensorView validate_weights(const Problem& problem, const ForwardOutputs& outputs, const nf_tensor* weights);

// The problem without its tensors. Errors: unsupported for what unfused operators have no weights for, invalid_argument
// for more slots than a tensor can have. tight: as in plan/slots.h.
UnfusedProblem unfused_problem(const Pattern& pattern, const Shape& shape, const TensorView& key_mask,
                               const Threading& threading, bool tight = false);

}  // namespace nearfield::core
