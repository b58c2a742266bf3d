// RoIAlign as loops over regions, channels, bins and samples, with the taps of a region found once:
// how libraries for detection do it on a CPU. Maps and results are channel by channel.
#include <algorithm>
#include <vector>

struct Tap {
  int cells[4];
  float weights[4];
};

static Tap tap_at(float y, float x, int height, int width) {
  Tap tap{};
  if (y < -1 || y > height || x < -1 || x > width) return tap;
  y = std::max(y, 0.0f);
  x = std::max(x, 0.0f);
  int top = static_cast<int>(y), left = static_cast<int>(x);
  int bottom = top + 1, right = left + 1;
  if (top >= height - 1) { top = bottom = height - 1; y = static_cast<float>(top); }
  if (left >= width - 1) { left = right = width - 1; x = static_cast<float>(left); }
  const float down = y - top, across = x - left;
  const int cells[4] = {top * width + left, top * width + right,
                        bottom * width + left, bottom * width + right};
  const float weights[4] = {(1 - down) * (1 - across), (1 - down) * across,
                            down * (1 - across), down * across};
  std::copy(cells, cells + 4, tap.cells);
  std::copy(weights, weights + 4, tap.weights);
  return tap;
}

extern "C" void roi_align(const float* features, const float* boxes, float* pooled, int frames,
                          int channels, int height, int width, int regions, int size,
                          int samples) {
  std::vector<Tap> taps(size * size * samples * samples);
  for (int frame = 0; frame < frames; ++frame) {
    for (int region = 0; region < regions; ++region) {
      const float* box = boxes + 4 * (frame * regions + region);
      const float y_start = box[0] * height - 0.5f, x_start = box[1] * width - 0.5f;
      const float y_step = (box[2] - box[0]) * height / (size * samples);
      const float x_step = (box[3] - box[1]) * width / (size * samples);
      Tap* next = taps.data();
      for (int bin_y = 0; bin_y < size; ++bin_y)
        for (int bin_x = 0; bin_x < size; ++bin_x)
          for (int y = 0; y < samples; ++y)
            for (int x = 0; x < samples; ++x)
              *next++ = tap_at(y_start + (bin_y * samples + y + 0.5f) * y_step,
                               x_start + (bin_x * samples + x + 0.5f) * x_step, height, width);
      for (int channel = 0; channel < channels; ++channel) {
        const float* map = features + (frame * channels + channel) * height * width;
        float* out = pooled + ((frame * regions + region) * channels + channel) * size * size;
        const Tap* tap = taps.data();
        for (int bin = 0; bin < size * size; ++bin) {
          float total = 0;
          for (int sample = 0; sample < samples * samples; ++sample, ++tap)
            for (int corner = 0; corner < 4; ++corner)
              total += tap->weights[corner] * map[tap->cells[corner]];
          out[bin] = total / (samples * samples);
        }
      }
    }
  }
}
