/* Skyline's C API. Every function that can fail returns a skyline_code and fills *error if it is not null;
 * nothing throws, prints or exits. Handles may be used from several threads at once unless said otherwise.
 * Strings are UTF-8. */
#ifndef SKYLINE_C_H
#define SKYLINE_C_H

#include <stddef.h>
#include <stdint.h>

#if defined(__GNUC__)
#define SKYLINE_API __attribute__((visibility("default")))
#else
#define SKYLINE_API
#endif

#ifdef __cplusplus
extern "C" {
#endif

/* C names are lower case: NOLINTBEGIN(readability-identifier-naming) */
typedef enum skyline_code {
  SKYLINE_OK = 0,
  SKYLINE_PARSE = 1,       /* the bytes are not the format */
  SKYLINE_INVALID = 2,     /* well-formed, but breaks the format's or an operator's rules */
  SKYLINE_UNSUPPORTED = 3, /* legal, but not run by this build */
  SKYLINE_LIMIT = 4,       /* over a documented limit */
  SKYLINE_IO = 5,          /* a file could not be read or written */
  SKYLINE_INPUT = 6,       /* what was passed to run does not fit the model */
  SKYLINE_OOM = 7,
  SKYLINE_INTERNAL = 8, /* a bug of ours */
  SKYLINE_CANCELLED = 9 /* stopped by its deadline */
} skyline_code;

typedef struct skyline_error {
  skyline_code code;
  char message[1024]; /* cut, always terminated */
} skyline_error;

/* Element types: the numbers of ONNX TensorProto.DataType. */
typedef enum skyline_dtype {
  SKYLINE_F32 = 1,
  SKYLINE_U8 = 2,
  SKYLINE_I8 = 3,
  SKYLINE_U16 = 4,
  SKYLINE_I16 = 5,
  SKYLINE_I32 = 6,
  SKYLINE_I64 = 7,
  SKYLINE_BOOL = 9,
  SKYLINE_F16 = 10,
  SKYLINE_F64 = 11,
  SKYLINE_U32 = 12,
  SKYLINE_U64 = 13,
  SKYLINE_BF16 = 16
} skyline_dtype;

/* A dense row-major tensor that the caller (inputs) or the results handle (outputs) owns. */
typedef struct skyline_tensor {
  int32_t dtype; /* skyline_dtype */
  int32_t rank;
  const int64_t* dims; /* rank of them */
  const void* data;    /* aligned to the element size; may be null when a dim is 0 */
} skyline_tensor;

typedef struct skyline_options {
  int32_t threads;       /* 0: the CPUs that this process may use */
  const char* isa;       /* null: all that the CPU has; else a level such as "avx2" */
  const char* precision; /* null: "model" */
  int32_t optimize;      /* 0: run the graph as imported; else 1 */
} skyline_options;

typedef struct skyline_session skyline_session;
typedef struct skyline_results skyline_results;

/* "0.1.0" */
SKYLINE_API const char* skyline_version(void);

/* Fills in the defaults: {0, null, null, 1}. */
SKYLINE_API void skyline_options_init(skyline_options* options);

/* Loads an ONNX file and makes it ready to run. options may be null. *session is to be freed with
 * skyline_session_free. */
SKYLINE_API skyline_code skyline_session_load(const char* path, const skyline_options* options,
                                              skyline_session** session, skyline_error* error);
/* The same from `size` bytes in memory. */
SKYLINE_API skyline_code skyline_session_parse(const void* bytes, size_t size, const skyline_options* options,
                                               skyline_session** session, skyline_error* error);
/* From a plan file (skyline compile), whose memory the session uses. SKYLINE_UNSUPPORTED if it is for another
 * machine or build of Skyline. */
SKYLINE_API skyline_code skyline_session_open_plan(const char* path, skyline_session** session,
                                                   skyline_error* error);
SKYLINE_API void skyline_session_free(skyline_session* session); /* null is fine; no run may be under way */

/* Inputs and outputs as the model declares them. Names live as long as the session; null / 0 when out of
 * range. */
SKYLINE_API size_t skyline_input_count(const skyline_session* session);
SKYLINE_API size_t skyline_output_count(const skyline_session* session);
SKYLINE_API const char* skyline_input_name(const skyline_session* session, size_t index);
SKYLINE_API const char* skyline_output_name(const skyline_session* session, size_t index);
SKYLINE_API int32_t skyline_input_dtype(const skyline_session* session, size_t index);
SKYLINE_API int32_t skyline_output_dtype(const skyline_session* session, size_t index);
/* Rank, or -1 if the model leaves it open; the dims into dims[0..capacity), -1 for a dynamic one. */
SKYLINE_API int32_t skyline_input_shape(const skyline_session* session, size_t index, int64_t* dims,
                                        int32_t capacity);
SKYLINE_API int32_t skyline_output_shape(const skyline_session* session, size_t index, int64_t* dims,
                                         int32_t capacity);

/* Runs with one tensor per input, in order; numeric tensors only. timeout_ms <= 0: no deadline. *results is
 * to be freed with skyline_results_free. */
SKYLINE_API skyline_code skyline_run(const skyline_session* session, const skyline_tensor* inputs,
                                     size_t count, double timeout_ms, skyline_results** results,
                                     skyline_error* error);
SKYLINE_API size_t skyline_results_count(const skyline_results* results);
/* Output `index`; its memory lives as long as the results. Error SKYLINE_UNSUPPORTED for strings and
 * sequences. */
SKYLINE_API skyline_code skyline_results_get(const skyline_results* results, size_t index,
                                             skyline_tensor* tensor, skyline_error* error);
SKYLINE_API void skyline_results_free(skyline_results* results);

/* NOLINTEND(readability-identifier-naming) */

#ifdef __cplusplus
}
#endif
#endif
