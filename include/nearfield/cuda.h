/* nearfield on NVIDIA GPUs. Part of the C ABI; nearfield.h does not include this header.
 *
 * The functions are those of nearfield.h with pointers of a device and a stream: tensors, modifiers, gradients and
 * rules are the same, but that element pointers are aligned to their elements. Kernels are queued on the stream and
 * nothing waits for them. Memory is the caller's; nothing is allocated but, once for each pattern, grid and device, the
 * tables that say what is seen. A workspace query puts these on the device already, so that the call after it allocates
 * nothing and can be recorded into a graph. They stay until nf_cuda_release_plans().
 *
 * Weights' values are not looked at: a negative key weight gives NaN. Results are the same bits in every run. Of
 * options, scale is used; engine must be NF_ENGINE_AUTO and workspace NULL. An axis is shorter than 2^29 tokens.
 *
 * Kernels are in a library of their own, libnearfield_cuda.so, which is loaded when the first of these functions is
 * called: the file that NEARFIELD_CUDA_LIBRARY names, else the one beside libnearfield. Where it, a driver or a GPU of
 * compute capability 7.5 is missing, the status is NF_UNSUPPORTED and the message says what. An error that the CUDA
 * runtime reports is NF_OUT_OF_MEMORY or NF_INTERNAL_ERROR with its words. */
#ifndef NEARFIELD_CUDA_H
#define NEARFIELD_CUDA_H

#include "nearfield/nearfield.h"

#ifdef __cplusplus
extern "C" {
#endif

/* Where a call runs. */
typedef struct nf_cuda_launch {
  size_t struct_size;
  int32_t device;   /* as the CUDA runtime numbers them */
  int32_t reserved; /* 0 */
  void* stream;     /* cudaStream_t of that device; NULL: the default stream */
  void* workspace;  /* memory of that device, as many bytes as the query says, at any alignment; NULL if that is 0 */
  size_t workspace_size;
} nf_cuda_launch;

/* NULL if there is a GPU that can be used, else one sentence saying what is missing. It lives as long as the library.
 */
NF_API const char* nf_cuda_unavailable(void);
/* How many devices the CUDA runtime sees; 0 where nf_cuda_unavailable() says why. */
NF_API int32_t nf_cuda_device_count(void);
/* The name of a device and its compute capability (sm_90: 9 and 0). name: `size` bytes, cut off to fit. */
NF_API nf_status nf_cuda_device(int32_t device, char* name, size_t size, int32_t* major, int32_t* minor);

NF_API nf_status nf_cuda_forward(const nf_pattern* pattern, const nf_tensor* query, const nf_tensor* key,
                                 const nf_tensor* value, const nf_modifiers* modifiers, const nf_options* options,
                                 const nf_cuda_launch* launch, const nf_tensor* out, const nf_tensor* logsumexp);

/* Bytes of device memory that nf_cuda_forward needs. Data pointers may be NULL. */
NF_API nf_status nf_cuda_forward_workspace(const nf_pattern* pattern, const nf_tensor* query, const nf_tensor* key,
                                           const nf_tensor* value, const nf_modifiers* modifiers,
                                           const nf_options* options, int32_t device, size_t* bytes);

NF_API nf_status nf_cuda_backward(const nf_pattern* pattern, const nf_tensor* query, const nf_tensor* key,
                                  const nf_tensor* value, const nf_modifiers* modifiers, const nf_options* options,
                                  const nf_cuda_launch* launch, const nf_tensor* out, const nf_tensor* logsumexp,
                                  const nf_tensor* dout, const nf_tensor* dlogsumexp, const nf_gradients* gradients);

/* Of gradients, only which are NULL matters. */
NF_API nf_status nf_cuda_backward_workspace(const nf_pattern* pattern, const nf_tensor* query, const nf_tensor* key,
                                            const nf_tensor* value, const nf_modifiers* modifiers,
                                            const nf_options* options, const nf_gradients* gradients, int32_t device,
                                            size_t* bytes);

/* Frees the tables on all devices. No call may be running or recorded that uses them. */
NF_API nf_status nf_cuda_release_plans(void);

#ifdef __cplusplus
}
#endif

#endif /* NEARFIELD_CUDA_H */
