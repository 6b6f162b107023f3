// Model -> plan file: what Session does when it loads a model, kept.
#include "engine/frontier/file.h"
#include "engine/plan_file/content.h"
#include "engine/plan_file/graph_writer.h"
#include "engine/runtime/executable.h"

namespace skyline {
namespace plan_file {
namespace {

// FlatBuffers count in 31 bits.
constexpr uint64_t kMostTableBytes = uint64_t{1} << 30;

Frontier choice_of(const CompileOptions& o, const SessionState& state) {
  if (o.choice) {
    if (o.choice->points.size() != 1)
      throw Error(Code::input, "a plan is of one point, not " + std::to_string(o.choice->points.size()));
    return *o.choice;
  }
  Frontier f;
  f.info = {.model = o.model_name,
            .model_sha1 = o.model_sha1,
            .machine = machine_facts(),
            .tool = "skyline " + key_of_here().skyline};
  f.points = {{.id = std::string(name(state.options.precision)),
               .precision = state.options.precision,
               .threads = state.options.threads,
               .layouts = state.options.layouts,
               .provenance = "compiled as it is"}};
  return f;
}

// The graphs of a file, and what lowering packs for them.
class Writer {
 public:
  Writer(const Model& model, const CompileOptions& options) : options_(options), graphs_(to_) {
    Graph g = model.graph();
    set_up(state_, g, options.session);
    state_.cache.keep();
    optimize_for_any(g, state_);
    if (takes_one_shape(g)) {
      prepare(std::move(g), true);
    } else {
      for (const std::vector<Value>& inputs : options.shapes) {
        Graph of_shapes = with_inputs(g, inputs);
        if (takes_one_shape(of_shapes)) prepare(std::move(of_shapes), false);
      }
      base_ = graphs_.graph(g);
      kept_ = std::move(g);
    }
    add_packs();
  }

  void save(const std::string& path) {
    const std::vector<GraphWriter::Piece>& pieces = graphs_.lay_out();
    finish_table();
    Header header{};
    std::memcpy(header.magic, kMagic, sizeof kMagic);
    header.format = kFormat;
    header.byte_order = kByteOrder;
    header.table_bytes = to_.GetSize();
    header.table_checksum = checksum(to_.GetBufferPointer(), to_.GetSize());
    uint64_t end = 0;
    for (const GraphWriter::Piece& p : pieces) {
      if (p.stored) end = p.offset + p.bytes;
    }
    // Whole pages, so that nothing of the mapping lies behind the end of the file.
    header.file_bytes = align_up(data_start(header) + end, kPage);
    header.checksum = checksum(&header, offsetof(Header, checksum));
    const std::string zeros(kPage, '\0');
    WholeFile file(path);
    uint64_t at = 0;
    const auto put = [&](const void* data, uint64_t bytes) {
      file.write({static_cast<const char*>(data), bytes});
      at += bytes;
    };
    const auto pad_to = [&](uint64_t offset) {
      while (at < offset) put(zeros.data(), std::min(kPage, offset - at));
    };
    put(&header, sizeof header);
    put(to_.GetBufferPointer(), to_.GetSize());
    for (const GraphWriter::Piece& p : pieces) {
      if (!p.stored) continue;
      pad_to(data_start(header) + p.offset);
      put(p.data, p.bytes);
    }
    pad_to(header.file_bytes);
    file.commit();
  }

 private:
  // owns: of its constants, those that are only ever read in packed form are left out of the file.
  void prepare(Graph g, bool owns) {
    optimize_for_shapes(g, state_);
    prepared_.push_back(graphs_.graph(g));
    const SessionOptions& o = state_.options;
    const Plan plan(g,
                    {.isa = state_.isa,
                     .threads = o.threads,
                     .max_tensor_bytes = o.max_tensor_bytes,
                     .own_kernels = o.kernels,
                     .owns_constants = owns},
                    state_.cache);
    for (uint32_t v = 0; owns && v < g.value_slots(); ++v) {
      const Tensor& before = g.value(ValueId{v}).constant;
      if (!before.defined() || plan.graph().value(ValueId{v}).constant.defined()) continue;
      released_.push_back(before);
    }
    held_.push_back(std::move(g));
  }

  void add_packs() {
    packs_ = state_.cache.entries();
    // In the order of the graph's constants, so that equal models make equal files.
    std::vector<std::pair<uint32_t, const PackCache::Entry*>> order;
    for (const PackCache::Entry& e : packs_)
      order.emplace_back(graphs_.blob(e.source.raw(), static_cast<uint64_t>(e.source.bytes())), &e);
    std::sort(order.begin(), order.end(), [](const auto& a, const auto& b) {
      return std::tie(a.first, a.second->form) < std::tie(b.first, b.second->form);
    });
    for (const auto& [source, entry] : order) {
      const auto form = to_.CreateString(entry->form);
      pack_rows_.push_back(
          schema::CreatePack(to_, source, form, graphs_.blob(entry->packed.get(), entry->bytes)));
    }
    for (const Tensor& t : released_)
      graphs_.leave_out(graphs_.blob(t.raw(), static_cast<uint64_t>(t.bytes())));
  }

  void finish_table() {
    const Key here = key_of_here();
    const auto version = to_.CreateString(here.skyline), build = to_.CreateString(here.build),
               isa = to_.CreateString(here.cpu_isa), sha1 = to_.CreateString(options_.model_sha1);
    const auto key = schema::CreateKey(to_, version, build, isa, here.l1d, here.l2, here.l3, sha1);
    const SessionOptions& o = state_.options;
    const auto level = to_.CreateString(o.isa);
    const auto session = schema::CreateOptions(to_, o.threads, level, static_cast<uint8_t>(o.precision),
                                               static_cast<uint8_t>(o.layouts), o.max_tensor_bytes);
    const auto choice = to_.CreateString(to_json(choice_of(options_, state_)));
    const auto blobs = graphs_.blobs();
    const auto tensors = graphs_.tensors();
    const auto packs = to_.CreateVector(pack_rows_);
    const auto prepared = to_.CreateVector(prepared_);
    schema::FinishPlanBuffer(
        to_, schema::CreatePlan(to_, key, session, choice, blobs, tensors, packs, base_, prepared));
    if (to_.GetSize() > kMostTableBytes)
      throw Error(Code::limit, "the plan's graphs take " + std::to_string(to_.GetSize()) + " bytes");
  }

  const CompileOptions& options_;
  SessionState state_;
  flatbuffers::FlatBufferBuilder to_;
  GraphWriter graphs_;
  flatbuffers::Offset<schema::Graph> base_;
  std::vector<flatbuffers::Offset<schema::Graph>> prepared_;
  std::vector<flatbuffers::Offset<schema::Pack>> pack_rows_;
  std::vector<PackCache::Entry> packs_;
  std::vector<Tensor> released_;
  std::vector<Graph> held_;  // whose constants are written
  Graph kept_;
};

}  // namespace
}  // namespace plan_file

void compile_plan(const Model& model, const CompileOptions& options, const std::string& path) {
  if (!options.session.optimize || options.session.stop_after_pass >= 0)
    throw Error(Code::unsupported, "a plan is of the optimized graph: not with no-optimize or stop-after");
  plan_file::Writer(model, options).save(path);
}

}  // namespace skyline
