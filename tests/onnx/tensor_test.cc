// Tensors in files: cases 10 to 18 of the list of bad inputs, and every way to store elements.
#include <cmath>
#include <limits>

#include "build.h"
#include "graph/onnx/tensors.h"
#include "graph/onnx/value_io.h"
#include "skyline/half.h"

using namespace test;
using skyline::Tensor;
using skyline::Value;

namespace {

Tensor read(TensorProto p) {
  ExternalFiles none("");
  return TensorReader(none, int64_t{1} << 30).read(p);
}
Code refusal(const TensorProto& p) {
  return code_of([&] { read(p); });
}
TensorProto proto(DType t, std::initializer_list<int64_t> dims) {
  TensorProto p;
  p.set_name("t");
  p.set_data_type(static_cast<int32_t>(t));
  for (int64_t d : dims) p.add_dims(d);
  return p;
}
TensorProto raw(DType t, std::initializer_list<int64_t> dims, const std::string& bytes) {
  TensorProto p = proto(t, dims);
  p.set_raw_data(bytes);
  return p;
}

}  // namespace

TEST_CASE("10, 11, 12: dims that cannot be") {
  CHECK(refusal(raw(DType::f32, {-1}, "")) == Code::invalid);
  CHECK(refusal(raw(DType::f32, {std::numeric_limits<int64_t>::min(), 2}, "")) == Code::invalid);
  const int64_t big = int64_t{1} << 31;
  CHECK(refusal(raw(DType::f32, {big, big, big}, "")) == Code::invalid);
  CHECK(refusal(raw(DType::f64, {big, int64_t{1} << 30}, "")) ==
        Code::invalid);  // elements fit, bytes do not
  CHECK(refusal(raw(DType::f64, {big, 4}, "")) == Code::limit);
  CHECK(refusal(raw(DType::i8, {int64_t{1} << 29}, "")) == Code::invalid);
  CHECK(refusal(proto(DType::f32, {big, big})) != Code::ok);
}

TEST_CASE("13: data that does not fit the shape") {
  CHECK(refusal(raw(DType::f32, {2}, "1234567")) == Code::invalid);
  CHECK(refusal(raw(DType::f32, {2}, "123456789")) == Code::invalid);
  CHECK(refusal(raw(DType::f32, {2}, "")) == Code::invalid);
  CHECK(refusal(proto(DType::f32, {2})) == Code::invalid);
  TensorProto both = raw(DType::f32, {1}, "1234");
  both.add_float_data(1);
  CHECK(refusal(both) == Code::invalid);
  TensorProto wrong = proto(DType::f32, {1});
  wrong.add_int32_data(1);
  CHECK(refusal(wrong) == Code::invalid);
  TensorProto range = proto(DType::u8, {1});
  range.add_int32_data(256);
  CHECK(refusal(range) == Code::invalid);
}

TEST_CASE("14, 15: empty tensors, scalars, rank") {
  CHECK(read(raw(DType::f32, {0, 3}, "")).size() == 0);
  CHECK(read(proto(DType::f32, {0})).dims() == skyline::Dims{0});
  CHECK(read(raw(DType::f32, {}, "1234")).rank() == 0);
  CHECK(read(raw(DType::f32, {1}, "1234")).rank() == 1);
  TensorProto deep = proto(DType::f32, {});
  for (int i = 0; i < 64; ++i) deep.add_dims(1);
  deep.add_float_data(1);
  CHECK(refusal(deep) == Code::ok);
  deep.add_dims(1);
  CHECK(refusal(deep) == Code::limit);
}

TEST_CASE("16: element types that are not there") {
  TensorProto p = proto(DType::f32, {0});
  for (int32_t t : {14, 15, 27, 99, -1}) {
    p.set_data_type(t);
    CHECK(refusal(p) == Code::unsupported);
  }
  p.set_data_type(0);
  CHECK(refusal(p) == Code::invalid);
  CHECK(refusal(raw(DType::string, {1}, "a")) == Code::invalid);
}

TEST_CASE("17: packed elements take a byte each in memory") {
  const Tensor i4 = read(raw(DType::i4, {5}, std::string("\x81\x7f\x0e", 3)));
  CHECK(std::vector<int>(static_cast<const int8_t*>(i4.raw()), static_cast<const int8_t*>(i4.raw()) + 5) ==
        std::vector<int>{1, -8, -1, 7, -2});
  const Tensor u4 = read(raw(DType::u4, {3}, std::string("\x81\x0f", 2)));
  CHECK(std::vector<int>(static_cast<const uint8_t*>(u4.raw()), static_cast<const uint8_t*>(u4.raw()) + 3) ==
        std::vector<int>{1, 8, 15});
  const Tensor i2 = read(raw(DType::i2, {5}, std::string("\xe4\x03", 2)));
  CHECK(std::vector<int>(static_cast<const int8_t*>(i2.raw()), static_cast<const int8_t*>(i2.raw()) + 5) ==
        std::vector<int>{0, 1, -2, -1, -1});
  CHECK(refusal(raw(DType::i4, {5}, std::string(5, '\0'))) == Code::invalid);  // a byte each in the file
  CHECK(refusal(raw(DType::u2, {5}, std::string(3, '\0'))) == Code::invalid);
  TensorProto typed = proto(DType::i4, {3});
  typed.add_int32_data(0x81);
  typed.add_int32_data(0x0f);
  const Tensor t = read(typed);
  CHECK(static_cast<const int8_t*>(t.raw())[1] == -8);
  CHECK(static_cast<const int8_t*>(t.raw())[2] == -1);
}

TEST_CASE("18: special numbers load as they are") {
  TensorProto p = proto(DType::f32, {4});
  for (float v : {std::nanf(""), INFINITY, -INFINITY, 1e-42f}) p.add_float_data(v);
  const Tensor t = read(p);
  CHECK(std::isnan(t.data<float>()[0]));
  CHECK(t.data<float>()[1] == INFINITY);
  CHECK(t.data<float>()[2] == -INFINITY);
  CHECK(t.data<float>()[3] == 1e-42f);
}

TEST_CASE("typed data of every kind") {
  TensorProto half = proto(DType::f16, {2});
  half.add_int32_data(0x3c00);
  half.add_int32_data(0xc000);
  CHECK(static_cast<float>(read(half).data<skyline::Half>()[0]) == 1.0f);
  CHECK(static_cast<float>(read(half).data<skyline::Half>()[1]) == -2.0f);
  TensorProto small = proto(DType::f8e4m3fn, {1});
  small.add_int32_data(0x38);
  CHECK(*static_cast<const uint8_t*>(read(small).raw()) == 0x38);
  TensorProto i8 = proto(DType::i8, {1});
  i8.add_int32_data(-5);
  CHECK(*read(i8).data<int8_t>() == -5);
  TensorProto flag = proto(DType::boolean, {2});
  flag.add_int32_data(7);
  flag.add_int32_data(0);
  CHECK(static_cast<const uint8_t*>(read(flag).raw())[0] == 1);
  CHECK(static_cast<const uint8_t*>(read(raw(DType::boolean, {1}, "\x02")).raw())[0] == 1);
  TensorProto u32 = proto(DType::u32, {1});
  u32.add_uint64_data(4'000'000'000u);
  CHECK(*read(u32).data<uint32_t>() == 4'000'000'000u);
  u32.set_uint64_data(0, uint64_t{1} << 32);
  CHECK(refusal(u32) == Code::invalid);
  TensorProto text = proto(DType::string, {2});
  text.add_string_data("a");
  text.add_string_data(std::string("b\0c", 3));
  CHECK(read(text).data<std::string>()[1].size() == 3);
}

TEST_CASE("sparse tensors become dense, within reason") {
  ExternalFiles none("");
  TensorReader reader(none, int64_t{1} << 30);
  SparseTensorProto s;
  TensorProto& values = *s.mutable_values();
  values = proto(DType::f32, {2});
  values.add_float_data(5);
  values.add_float_data(7);
  TensorProto& indices = *s.mutable_indices();
  indices = proto(DType::i64, {2});
  indices.add_int64_data(1);
  indices.add_int64_data(3);
  s.add_dims(2);
  s.add_dims(2);
  SparseTensorProto copy = s;
  const Tensor t = reader.read(copy);
  CHECK(std::vector<float>(t.data<float>(), t.data<float>() + 4) == std::vector<float>{0, 5, 0, 7});

  SparseTensorProto pairs = s;
  pairs.mutable_indices()->add_dims(2);
  pairs.mutable_indices()->clear_int64_data();
  for (int64_t i : {0, 1, 1, 1}) pairs.mutable_indices()->add_int64_data(i);
  const Tensor u = reader.read(pairs);
  CHECK(std::vector<float>(u.data<float>(), u.data<float>() + 4) == std::vector<float>{0, 5, 0, 7});

  const auto refused = [&](SparseTensorProto bad) { return code_of([&] { reader.read(bad); }); };
  SparseTensorProto bad = s;
  bad.mutable_indices()->set_int64_data(1, 4);
  CHECK(refused(bad) == Code::invalid);
  bad.mutable_indices()->set_int64_data(1, 1);
  CHECK(refused(bad) == Code::invalid);  // twice
  bad = s;
  bad.set_dims(0, int64_t{1} << 40);
  CHECK(refused(bad) == Code::limit);
  bad = s;
  bad.set_dims(0, -2);
  CHECK(refused(bad) == Code::invalid);
}

TEST_CASE("what is written is read back") {
  const Tensor original = read(raw(DType::i4, {5}, std::string("\x81\x7f\x0e", 3)));
  TensorProto p;
  write_tensor(original, p);
  CHECK(p.raw_data().size() == 3);
  const Tensor again = read(p);
  CHECK(std::equal(static_cast<const int8_t*>(again.raw()), static_cast<const int8_t*>(again.raw()) + 5,
                   static_cast<const int8_t*>(original.raw())));

  skyline::Fact sequence;
  sequence.kind = skyline::Fact::Kind::sequence;
  const Value list = Value::sequence({Value(Tensor::vector({1, 2})), Value(Tensor::vector({}))});
  const std::string bytes = serialize_value(list, "s");
  const Value back = parse_value(std::span<const char>(bytes.data(), bytes.size()), sequence);
  REQUIRE(back.items().size() == 2);
  CHECK(back.items()[0].tensor().data<int64_t>()[1] == 2);

  skyline::Fact optional;
  optional.kind = skyline::Fact::Kind::optional;
  const std::string none = serialize_value({}, "o");
  CHECK(parse_value(std::span<const char>(none.data(), none.size()), optional).is_none());
}

TEST_CASE("43: bad .pb data is the caller's fault") {
  const std::string junk = "\xff\xff\xff";
  CHECK(code_of([&] { parse_value(std::span<const char>(junk.data(), junk.size()), {}); }) == Code::input);
  const std::string huge = raw(DType::f32, {int64_t{1} << 40}, "1234").SerializeAsString();
  CHECK(code_of([&] { parse_value(std::span<const char>(huge.data(), huge.size()), {}); }) == Code::input);
}

TEST_CASE("an old file's bits of a type that had no number yet") {
  const std::string bytes = raw(DType::u16, {1}, std::string("\x80\x3f", 2)).SerializeAsString();
  const Value v =
      parse_value(std::span<const char>(bytes.data(), bytes.size()), skyline::Fact::unranked(DType::bf16));
  CHECK(static_cast<float>(*v.tensor().data<skyline::BFloat16>()) == 1.0f);
}
