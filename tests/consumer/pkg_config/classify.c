#include <skyline/skyline_c.h>
#include <stdio.h>

int main(int argc, char** argv) {
  skyline_session* session = NULL;
  skyline_results* results = NULL;
  skyline_error error;
  skyline_tensor y;
  static const float image[256];
  const int64_t dims[4] = {1, 1, 16, 16};
  const skyline_tensor x = {SKYLINE_F32, 4, dims, image};
  float sum = 0;
  if (argc != 2) return 2;
  if (skyline_session_load("no such file", NULL, &session, &error) != SKYLINE_IO) return 1;
  if (skyline_session_load(argv[1], NULL, &session, &error) != SKYLINE_OK ||
      skyline_run(session, &x, 1, 0, &results, &error) != SKYLINE_OK ||
      skyline_results_get(results, 0, &y, &error) != SKYLINE_OK) {
    fprintf(stderr, "%s\n", error.message);
    return 1;
  }
  for (int i = 0; i < 10; ++i) sum += ((const float*)y.data)[i];
  printf("skyline %s: input %s, probabilities sum to %.3f\n", skyline_version(), skyline_input_name(session, 0), sum);
  skyline_results_free(results);
  skyline_session_free(session);
  return sum > 0.999f && sum < 1.001f ? 0 : 1;
}
