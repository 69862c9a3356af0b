// libnearfield_jax: nearfield's forward and backward passes as handlers of XLA's foreign function interface, which
// JAX registers by address. They translate and report; libnearfield computes. ffi_call.h has what they are given.
#include <nearfield/nearfield.h>

#include <cstddef>
#include <cstdint>
#include <exception>
#include <new>
#include <vector>

#include "ffi_call.h"
#include "xla/ffi/api/ffi.h"

namespace {

namespace ffi = xla::ffi;
namespace nj = nearfield::jax;

ffi::Error error_of(nf_status status) {
  switch (status) {
    case NF_OK: return ffi::Error::Success();
    case NF_INVALID_ARGUMENT: return ffi::Error(ffi::ErrorCode::kInvalidArgument, nf_last_error());
    case NF_UNSUPPORTED: return ffi::Error(ffi::ErrorCode::kUnimplemented, nf_last_error());
    case NF_OUT_OF_MEMORY: return ffi::Error(ffi::ErrorCode::kResourceExhausted, nf_last_error());
    case NF_INTERNAL_ERROR: break;
  }
  return ffi::Error(ffi::ErrorCode::kInternal, nf_last_error());
}

// Runs `attention` on each attention of the call, until one fails. No exception may reach XLA.
template <class Attention>
ffi::Error run(const ffi::RemainingArgs& args, const ffi::RemainingRets& rets, const ffi::Dictionary& attributes,
               const std::vector<std::size_t>& result_roles, const Attention& attention) {
  try {
    nj::Call call(args, rets, attributes, result_roles);
    for (int64_t i = 0; i < call.count(); ++i) {
      call.select(i);
      const nf_status status = attention(call);
      if (status != NF_OK) return error_of(status);
    }
    return ffi::Error::Success();
  } catch (const nj::BadCall& error) {
    return ffi::Error(ffi::ErrorCode::kInvalidArgument, error.what());
  } catch (const std::bad_alloc&) {
    return ffi::Error(ffi::ErrorCode::kResourceExhausted, "out of memory");
  } catch (const std::exception& error) {
    return ffi::Error(ffi::ErrorCode::kInternal, error.what());
  }
}

ffi::Error forward(ffi::RemainingArgs args, ffi::RemainingRets rets, ffi::Dictionary attributes) {
  return run(args, rets, attributes, {nj::kForwardOut, nj::kForwardLogsumexp}, [](const nj::Call& call) {
    return nf_forward(call.pattern(), call.operand(nj::kQuery), call.operand(nj::kKey), call.operand(nj::kValue),
                      call.modifiers(), call.options(), call.result(nj::kOut), call.result(nj::kLogsumexp));
  });
}

ffi::Error backward(ffi::RemainingArgs args, ffi::RemainingRets rets, ffi::Dictionary attributes) {
  const std::vector<std::size_t> shaped_like = {
      nj::kQuery, nj::kKey, nj::kValue, nj::kAdditionalKeys, nj::kAdditionalValues, nj::kKeyWeights, nj::kBias};
  return run(args, rets, attributes, shaped_like, [](const nj::Call& call) {
    nf_gradients gradients{};
    gradients.struct_size = sizeof gradients;
    gradients.query = call.result(nj::kQueryGradient);
    gradients.key = call.result(nj::kKeyGradient);
    gradients.value = call.result(nj::kValueGradient);
    gradients.additional_keys = call.result(nj::kAdditionalKeysGradient);
    gradients.additional_values = call.result(nj::kAdditionalValuesGradient);
    gradients.key_weights = call.result(nj::kKeyWeightsGradient);
    gradients.bias = call.result(nj::kBiasGradient);
    return nf_backward(call.pattern(), call.operand(nj::kQuery), call.operand(nj::kKey), call.operand(nj::kValue),
                       call.modifiers(), call.options(), call.operand(nj::kForwardOut),
                       call.operand(nj::kForwardLogsumexp), call.operand(nj::kDout), call.operand(nj::kDlogsumexp),
                       &gradients);
  });
}

ffi::Error qk(ffi::RemainingArgs args, ffi::RemainingRets rets, ffi::Dictionary attributes) {
  return run(args, rets, attributes, {nj::kWeights}, [](const nj::Call& call) {
    return nf_qk(call.pattern(), call.operand(nj::kQuery), call.operand(nj::kKey), call.modifiers(), call.options(),
                 call.result(0));
  });
}

ffi::Error qk_backward(ffi::RemainingArgs args, ffi::RemainingRets rets, ffi::Dictionary attributes) {
  const std::vector<std::size_t> shaped_like = {nj::kQuery, nj::kKey, nj::kAdditionalKeys, nj::kBias};
  return run(args, rets, attributes, shaped_like, [](const nj::Call& call) {
    nf_qk_gradients gradients{};
    gradients.struct_size = sizeof gradients;
    gradients.query = call.result(nj::kQkQueryGradient);
    gradients.key = call.result(nj::kQkKeyGradient);
    gradients.additional_keys = call.result(nj::kQkAdditionalKeysGradient);
    gradients.bias = call.result(nj::kQkBiasGradient);
    return nf_qk_backward(call.pattern(), call.operand(nj::kQuery), call.operand(nj::kKey), call.modifiers(),
                          call.options(), call.operand(nj::kDweights), &gradients);
  });
}

ffi::Error av(ffi::RemainingArgs args, ffi::RemainingRets rets, ffi::Dictionary attributes) {
  return run(args, rets, attributes, {nj::kForwardOut}, [](const nj::Call& call) {
    return nf_av(call.pattern(), call.operand(nj::kWeights), call.operand(nj::kValue), call.modifiers(), call.options(),
                 call.result(nj::kOut));
  });
}

ffi::Error av_backward(ffi::RemainingArgs args, ffi::RemainingRets rets, ffi::Dictionary attributes) {
  const std::vector<std::size_t> shaped_like = {nj::kWeights, nj::kValue, nj::kAdditionalValues};
  return run(args, rets, attributes, shaped_like, [](const nj::Call& call) {
    nf_av_gradients gradients{};
    gradients.struct_size = sizeof gradients;
    gradients.weights = call.result(nj::kAvWeightsGradient);
    gradients.value = call.result(nj::kAvValueGradient);
    gradients.additional_values = call.result(nj::kAvAdditionalValuesGradient);
    return nf_av_backward(call.pattern(), call.operand(nj::kWeights), call.operand(nj::kValue), call.modifiers(),
                          call.options(), call.operand(nj::kDout), &gradients);
  });
}

ffi::Error forward_weights(ffi::RemainingArgs args, ffi::RemainingRets rets, ffi::Dictionary attributes) {
  const std::vector<std::size_t> shaped_like = {nj::kForwardOut, nj::kForwardLogsumexp, nj::kWeights};
  return run(args, rets, attributes, shaped_like, [](const nj::Call& call) {
    return nf_forward_weights(call.pattern(), call.operand(nj::kQuery), call.operand(nj::kKey),
                              call.operand(nj::kValue), call.modifiers(), call.options(), call.result(nj::kOut),
                              call.result(nj::kLogsumexp), call.result(nj::kWeightsResult));
  });
}

// Stands where XLA looks for a handler on another platform than the CPU.
ffi::Error elsewhere(ffi::RemainingArgs, ffi::RemainingRets, ffi::Dictionary) {
  return ffi::Error(ffi::ErrorCode::kUnimplemented,
                    "platform: nearfield runs on the CPU only: move arrays there with "
                    "jax.device_put(x, jax.devices(\"cpu\")[0])");
}

}  // namespace

// Hidden names are the default (python/CMakeLists.txt); these are what Python looks up.
#pragma GCC visibility push(default)
XLA_FFI_DEFINE_HANDLER_SYMBOL(nf_jax_forward, forward, ffi::Ffi::Bind().RemainingArgs().RemainingRets().Attrs());
XLA_FFI_DEFINE_HANDLER_SYMBOL(nf_jax_backward, backward, ffi::Ffi::Bind().RemainingArgs().RemainingRets().Attrs());
XLA_FFI_DEFINE_HANDLER_SYMBOL(nf_jax_qk, qk, ffi::Ffi::Bind().RemainingArgs().RemainingRets().Attrs());
XLA_FFI_DEFINE_HANDLER_SYMBOL(nf_jax_qk_backward, qk_backward,
                              ffi::Ffi::Bind().RemainingArgs().RemainingRets().Attrs());
XLA_FFI_DEFINE_HANDLER_SYMBOL(nf_jax_av, av, ffi::Ffi::Bind().RemainingArgs().RemainingRets().Attrs());
XLA_FFI_DEFINE_HANDLER_SYMBOL(nf_jax_av_backward, av_backward,
                              ffi::Ffi::Bind().RemainingArgs().RemainingRets().Attrs());
XLA_FFI_DEFINE_HANDLER_SYMBOL(nf_jax_forward_weights, forward_weights,
                              ffi::Ffi::Bind().RemainingArgs().RemainingRets().Attrs());
XLA_FFI_DEFINE_HANDLER_SYMBOL(nf_jax_elsewhere, elsewhere, ffi::Ffi::Bind().RemainingArgs().RemainingRets().Attrs());
#pragma GCC visibility pop
