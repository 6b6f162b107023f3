#include "skyline/skyline_c.h"

#include <algorithm>
#include <cstring>
#include <new>

#include "skyline/skyline.h"

struct skyline_session {
  skyline::Session session;
};
struct skyline_results {
  std::vector<skyline::Value> values;
};

namespace {

using namespace skyline;

skyline_code report(skyline_error* error, Code code, const char* what) {
  if (error) {
    error->code = static_cast<skyline_code>(code);
    const size_t n = std::min(std::strlen(what), sizeof error->message - 1);
    std::memcpy(error->message, what, n);
    error->message[n] = '\0';
  }
  return static_cast<skyline_code>(code);
}

// The border of the library: no exception leaves it.
template <class F>
skyline_code guarded(skyline_error* error, F&& body) noexcept {
  try {
    body();
    if (error) *error = {SKYLINE_OK, ""};
    return SKYLINE_OK;
  } catch (const Error& e) {
    return report(error, e.code(), e.what());
  } catch (const std::bad_alloc&) {
    return report(error, Code::oom, "OOM: out of memory");
  } catch (const std::exception& e) {
    return report(error, Code::internal, e.what());
  }
}

void require(bool ok, const char* what) {
  if (!ok) throw Error(Code::input, what);
}

SessionOptions options_of(const skyline_options* o) {
  SessionOptions out;
  if (!o) return out;
  out.threads = o->threads;
  if (o->isa) out.isa = o->isa;
  if (o->precision) out.precision = precision_from_name(o->precision);
  out.optimize = o->optimize != 0;
  return out;
}

Tensor tensor_of(const skyline_tensor& t, size_t index) {
  const std::string where = "input " + std::to_string(index);
  const auto dtype = static_cast<DType>(t.dtype);
  if (t.dtype <= 0 || t.dtype > 255 || size_of(dtype) == 0 || dtype == DType::string) {
    throw Error(Code::input, where + " has no numeric dtype: " + std::to_string(t.dtype));
  }
  if (t.rank < 0 || t.rank > kMaxRank || (t.rank > 0 && !t.dims))
    throw Error(Code::input, where + " has a bad rank");
  try {
    return Tensor::view(dtype, Dims(t.dims, t.dims + t.rank), t.data);
  } catch (Error& e) {
    throw Error(Code::input, where + ": " + e.message());
  }
}

const ValueDescription* at(const std::vector<ValueDescription>& list, size_t i) {
  return i < list.size() ? &list[i] : nullptr;
}

int32_t shape_of(const ValueDescription* d, int64_t* dims, int32_t capacity) {
  if (!d || !d->fact.ranked) return -1;
  for (int32_t i = 0; i < std::min(capacity, d->fact.rank()); ++i) {
    const Dim dim = d->fact.dims[static_cast<size_t>(i)];
    dims[i] = dim.known() ? dim.value() : -1;
  }
  return d->fact.rank();
}

}  // namespace

const char* skyline_version(void) {
  return "0.1.0";
}

void skyline_options_init(skyline_options* options) {
  if (options) *options = {0, nullptr, nullptr, 1};
}

skyline_code skyline_session_load(const char* path, const skyline_options* options, skyline_session** session,
                                  skyline_error* error) {
  return guarded(error, [&] {
    require(path && session, "path and session must not be null");
    *session = nullptr;
    *session = new skyline_session{Session(Model::load(path), options_of(options))};
  });
}

skyline_code skyline_session_parse(const void* bytes, size_t size, const skyline_options* options,
                                   skyline_session** session, skyline_error* error) {
  return guarded(error, [&] {
    require(bytes && session, "bytes and session must not be null");
    *session = nullptr;
    *session = new skyline_session{
        Session(Model::parse({static_cast<const char*>(bytes), size}), options_of(options))};
  });
}

skyline_code skyline_session_open_plan(const char* path, skyline_session** session, skyline_error* error) {
  return guarded(error, [&] {
    require(path && session, "path and session must not be null");
    *session = nullptr;
    *session = new skyline_session{Session(PlanFile::open(path))};
  });
}

void skyline_session_free(skyline_session* session) {
  delete session;
}

size_t skyline_input_count(const skyline_session* s) {
  return s ? s->session.inputs().size() : 0;
}
size_t skyline_output_count(const skyline_session* s) {
  return s ? s->session.outputs().size() : 0;
}
const char* skyline_input_name(const skyline_session* s, size_t i) {
  const ValueDescription* d = s ? at(s->session.inputs(), i) : nullptr;
  return d ? d->name.c_str() : nullptr;
}
const char* skyline_output_name(const skyline_session* s, size_t i) {
  const ValueDescription* d = s ? at(s->session.outputs(), i) : nullptr;
  return d ? d->name.c_str() : nullptr;
}
int32_t skyline_input_dtype(const skyline_session* s, size_t i) {
  const ValueDescription* d = s ? at(s->session.inputs(), i) : nullptr;
  return d ? static_cast<int32_t>(d->fact.dtype) : 0;
}
int32_t skyline_output_dtype(const skyline_session* s, size_t i) {
  const ValueDescription* d = s ? at(s->session.outputs(), i) : nullptr;
  return d ? static_cast<int32_t>(d->fact.dtype) : 0;
}
int32_t skyline_input_shape(const skyline_session* s, size_t i, int64_t* dims, int32_t capacity) {
  return shape_of(s ? at(s->session.inputs(), i) : nullptr, dims, dims ? capacity : 0);
}
int32_t skyline_output_shape(const skyline_session* s, size_t i, int64_t* dims, int32_t capacity) {
  return shape_of(s ? at(s->session.outputs(), i) : nullptr, dims, dims ? capacity : 0);
}

skyline_code skyline_run(const skyline_session* session, const skyline_tensor* inputs, size_t count,
                         double timeout_ms, skyline_results** results, skyline_error* error) {
  return guarded(error, [&] {
    require(session && results && (inputs || count == 0), "session, inputs and results must not be null");
    *results = nullptr;
    require(count == session->session.inputs().size(), "the number of inputs is not the model's");
    std::vector<Value> in;
    for (size_t i = 0; i < count; ++i) in.emplace_back(tensor_of(inputs[i], i));
    RunOptions options;
    if (timeout_ms > 0) {
      options.deadline = std::chrono::steady_clock::now() +
                         std::chrono::duration_cast<std::chrono::nanoseconds>(
                             std::chrono::duration<double, std::milli>(std::min(timeout_ms, 1e9)));
    }
    *results = new skyline_results{session->session.run(in, options)};
  });
}

size_t skyline_results_count(const skyline_results* r) {
  return r ? r->values.size() : 0;
}

skyline_code skyline_results_get(const skyline_results* results, size_t index, skyline_tensor* tensor,
                                 skyline_error* error) {
  return guarded(error, [&] {
    require(results && tensor, "results and tensor must not be null");
    require(index < results->values.size(), "no output of that index");
    const Value& v = results->values[index];
    if (!v.is_tensor() || v.tensor().dtype() == DType::string) {
      throw Error(Code::unsupported,
                  "output " + std::to_string(index) + " is not a numeric tensor: read it with the C++ API");
    }
    const Tensor& t = v.tensor();
    *tensor = {static_cast<int32_t>(t.dtype()), t.rank(), t.dims().data(), t.raw()};
  });
}

void skyline_results_free(skyline_results* results) {
  delete results;
}
