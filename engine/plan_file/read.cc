// Plan file -> PlanFile: what is checked, in order, before anything is used.
#include <algorithm>
#include <filesystem>
#include <fstream>

#include "engine/plan_file/content.h"
#include "engine/plan_file/graph_reader.h"
#include "graph/ir/infer.h"

namespace skyline {
namespace plan_file {
namespace {

// Bodies in bodies count one each, with the tables between them.
constexpr flatbuffers::uoffset_t kDeepest = 256, kMostTables = 50'000'000;

[[noreturn]] void broken(const std::string& what) {
  throw Error(Code::parse, "the plan file is broken: " + what);
}

Header read_header(const Mapping& file) {
  Header h{};
  if (file.bytes() < sizeof kMagic || std::memcmp(file.data(), kMagic, sizeof kMagic) != 0)
    throw Error(Code::parse, "not a plan file");
  if (file.bytes() < sizeof h) broken("it is cut short");
  std::memcpy(&h, file.data(), sizeof h);
  if (h.byte_order != kByteOrder)
    throw Error(Code::unsupported, "the plan file is for CPUs of the other byte order");
  if (h.format != kFormat) {
    throw Error(Code::unsupported, "the plan file has format " + std::to_string(h.format) +
                                       "; this build reads " + std::to_string(kFormat));
  }
  if (h.checksum != checksum(&h, offsetof(Header, checksum))) broken("its header has changed");
  if (h.file_bytes != file.bytes()) {
    broken("it should be " + std::to_string(h.file_bytes) + " bytes long and is " +
           std::to_string(file.bytes()));
  }
  if (h.table_bytes > h.file_bytes - sizeof h || data_start(h) > h.file_bytes)
    broken("its table is cut short");
  return h;
}

const schema::Plan& read_table(const Mapping& file, const Header& h) {
  const auto* table = reinterpret_cast<const uint8_t*>(file.data() + sizeof h);
  if (h.table_checksum != checksum(table, h.table_bytes)) broken("its table has changed");
  flatbuffers::Verifier verifier(table, h.table_bytes, kDeepest, kMostTables);
  if (!schema::VerifyPlanBuffer(verifier)) broken("its table is not one of ours");
  return *schema::GetPlan(table);
}

void check_blobs(const Mapping& file, const Header& h, const schema::Plan& plan) {
  const uint64_t start = data_start(h), room = h.file_bytes - start;
  for (uint32_t i = 0; plan.blobs() && i < plan.blobs()->size(); ++i) {
    const schema::Blob& b = *plan.blobs()->Get(i);
    if (b.offset() == kNoPlace) continue;
    if (b.offset() % kBlobAlign != 0 || b.bytes() > room || b.offset() > room - b.bytes())
      broken("bytes " + std::to_string(i) + " lie outside of it");
    if (b.checksum() != checksum(file.data() + start + b.offset(), b.bytes()))
      broken("its weights have changed");
  }
}

SessionOptions options_of(const schema::Options& o) {
  SessionOptions out;
  out.threads = o.threads();
  out.isa = o.isa()->str();
  if (o.precision() > static_cast<uint8_t>(Precision::int8)) broken("an unknown precision");
  if (o.layouts() > static_cast<uint8_t>(LayoutPolicy::channels_last)) broken("an unknown layout policy");
  out.precision = static_cast<Precision>(o.precision());
  out.layouts = static_cast<LayoutPolicy>(o.layouts());
  out.max_tensor_bytes = o.max_tensor_bytes();
  if (out.threads < 1 || out.threads > 1024 || out.max_tensor_bytes < 1) broken("options out of range");
  return out;
}

// Only to be shown or tried: what a graph takes is read, and checked, when a session is made.
std::vector<Dims> input_shapes(const schema::Graph& g) {
  std::vector<Dims> out;
  for (uint32_t i = 0; g.values() && i < g.inputs() && i < g.values()->size(); ++i) {
    const schema::Fact* f = g.values()->Get(i)->fact();
    Dims& dims = out.emplace_back();
    if (f && f->dims()) dims.assign(f->dims()->begin(), f->dims()->end());
    if (dims.size() > static_cast<size_t>(kMaxRank) ||
        std::any_of(dims.begin(), dims.end(), [](int64_t d) { return d < 0; }))
      broken("a graph is prepared for no shape");
  }
  return out;
}

const schema::Plan& table_of(const PlanFile::Content& c) {
  return *schema::GetPlan(c.file->data() + sizeof(Header));
}

// Facts again from the inputs', which also says whether the file's own were true.
void infer(Graph& g) {
  try {
    infer_graph(g);
  } catch (Error& e) {
    throw e.in("plan file");
  }
}

}  // namespace

std::string difference(const Key& plan, const Key& here) {
  std::string out;
  const auto compare = [&](const char* what, const std::string& a, const std::string& b) {
    if (a != b) out += (out.empty() ? "" : "; ") + std::string(what) + " " + a + ", here " + b;
  };
  compare("Skyline", plan.skyline, here.skyline);
  if (out.empty()) compare("build", plan.build, here.build);
  compare("CPU features", plan.cpu_isa, here.cpu_isa);
  compare("L1 cache", std::to_string(plan.l1d), std::to_string(here.l1d));
  compare("L2 cache", std::to_string(plan.l2), std::to_string(here.l2));
  compare("L3 cache", std::to_string(plan.l3), std::to_string(here.l3));
  return out.empty() ? "" : "the plan file is for another machine or build: " + out + "; make it again";
}

Loaded load(const PlanFile::Content& content, PackCache& cache) {
  const schema::Plan& plan = table_of(content);
  Header h{};
  std::memcpy(&h, content.file->data(), sizeof h);
  GraphReader reader(plan, content.file, data_start(h));
  const uint32_t blobs = plan.blobs() ? plan.blobs()->size() : 0;
  for (uint32_t i = 0; plan.packs() && i < plan.packs()->size(); ++i) {
    const schema::Pack& p = *plan.packs()->Get(i);
    if (p.source() >= blobs || p.blob() >= blobs || reader.is_absent(p.blob()))
      throw Error(Code::invalid, "plan file: packed weights that are not there");
    cache.put({reader.bytes_of(p.source()), p.form()->str(),
               PackCache::Packed(reader.owner(p.blob()), reader.address(p.blob())),
               plan.blobs()->Get(p.blob())->bytes()},
              reader.is_absent(p.source()));
  }
  // What is there packed as well was last read by the checksum, and may not be read again.
  for (uint32_t i = 0; plan.packs() && i < plan.packs()->size(); ++i) {
    const uint32_t source = plan.packs()->Get(i)->source();
    const schema::Blob& b = *plan.blobs()->Get(source);
    if (!reader.is_absent(source)) content.file->forget(data_start(h) + b.offset(), b.bytes());
  }
  Loaded out;
  if (plan.base()) {
    out.base = reader.graph(*plan.base());
    infer(*out.base);
    for (uint32_t v = 0; v < out.base->value_slots(); ++v) {
      const Tensor& c = out.base->value(ValueId{v}).constant;
      if (c.defined() && cache.is_absent(c)) throw Error(Code::invalid, "plan file: a constant is left out");
    }
  }
  for (uint32_t i = 0; plan.prepared() && i < plan.prepared()->size(); ++i) {
    out.prepared.push_back(reader.graph(*plan.prepared()->Get(i)));
    infer(out.prepared.back());
  }
  if (!out.base && out.prepared.empty()) throw Error(Code::invalid, "plan file: there is no graph");
  return out;
}

}  // namespace plan_file

bool is_plan_file(const std::string& path) noexcept {
  std::error_code ignored;
  if (!std::filesystem::is_regular_file(path, ignored)) return false;  // reading a pipe would wait
  std::ifstream in(path, std::ios::binary);
  char first[sizeof plan_file::kMagic];
  return in.read(first, sizeof first) && std::memcmp(first, plan_file::kMagic, sizeof first) == 0;
}

PlanFile PlanFile::open(const std::string& path) {
  using namespace plan_file;
  auto content = std::make_shared<Content>();
  content->file = Mapping::of_file(path);
  content->path = path;
  try {
    const Header h = read_header(*content->file);
    const schema::Plan& plan = read_table(*content->file, h);
    check_blobs(*content->file, h, plan);
    const schema::Key& key = *plan.key();
    content->mismatch = difference(
        {key.skyline()->str(), key.build()->str(), key.cpu_isa()->str(), key.l1d(), key.l2(), key.l3()},
        key_of_here());
    content->model_sha1 = key.model_sha1()->str();
    content->options = options_of(*plan.options());
    for (uint32_t i = 0; plan.prepared() && i < plan.prepared()->size(); ++i)
      content->shapes.push_back(input_shapes(*plan.prepared()->Get(i)));
    for (uint32_t i = 0; plan.packs() && i < plan.packs()->size(); ++i) {
      const uint32_t b = plan.packs()->Get(i)->blob();
      if (plan.blobs() && b < plan.blobs()->size())
        content->packed_bytes += static_cast<int64_t>(plan.blobs()->Get(b)->bytes());
    }
  } catch (Error& e) {
    throw e.in("file " + path);
  }
  PlanFile out;
  out.content_ = std::move(content);
  return out;
}

const std::string& PlanFile::mismatch() const {
  return content_->mismatch;
}
const std::string& PlanFile::model_sha1() const {
  return content_->model_sha1;
}
const SessionOptions& PlanFile::options() const {
  return content_->options;
}
const std::vector<std::vector<Dims>>& PlanFile::shapes() const {
  return content_->shapes;
}
int64_t PlanFile::bytes() const {
  return static_cast<int64_t>(content_->file->bytes());
}
int64_t PlanFile::packed_bytes() const {
  return content_->packed_bytes;
}

Frontier PlanFile::choice() const {
  Frontier f = frontier_from_json(plan_file::table_of(*content_).choice()->string_view());
  if (f.points.size() != 1) throw Error(Code::invalid, "the plan file holds no single point");
  return f;
}

}  // namespace skyline
