/* A libnvidia-ml.so.1 whose devices are written in a file, which is read again in every call.
 *
 * $WEIR_NVML_STUB names the file. A line is "KEY VALUE"; what is not there is not supported (3).
 *
 *   count 2                       devices; without it the driver is not loaded (9)
 *   0.uuid GPU-…                  of device 0; 0.mig.1.uuid is that of its slice 1
 *   0.err 15                      every call about the device fails with it
 *   0.err.nvmlDeviceGetPowerUsage 999
 *   0.processes 4242:1000000:37   process:bytes:percent of its time, separated by commas
 *   0.gpm.2 55.5                  a metric of the performance monitor, by its number
 *   0.field.82 61                 a field, by its number
 *
 * Every name of a called function is added to FILE.calls, where that file exists. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
typedef unsigned u;
typedef unsigned long long ull;
typedef long long ll;

static const char *path(void) { return getenv("WEIR_NVML_STUB"); }

static int look(const char *key, char *out, int n) {
  FILE *f = path() ? fopen(path(), "r") : 0;
  char name[200], value[4000];
  int found = 0;
  if (!f) return 0;
  while (!found && fscanf(f, "%199s %3999[^\n]", name, value) == 2)
    if (!strcmp(name, key)) { snprintf(out, n, "%s", value); found = 1; }
  fclose(f);
  return found;
}

static void count_call(const char *call) {
  char name[4100];
  FILE *f;
  if (!path()) return;
  snprintf(name, sizeof name, "%s.calls", path());
  if (!(f = fopen(name, "r"))) return;
  fclose(f);
  if ((f = fopen(name, "a"))) { fprintf(f, "%s\n", call); fclose(f); }
}

static int n_devices(void) { char b[50]; return look("count", b, sizeof b) ? atoi(b) : -1; }

/* A handle is 1 + the device's number, and 256 times 1 + its slice's. */
static void prefix_of(void *h, char *out) {
  size_t all = (size_t)h;
  if (all >> 8) sprintf(out, "%d.mig.%d", (int)(all & 255) - 1, (int)(all >> 8) - 1);
  else sprintf(out, "%d", (int)all - 1);
}

static int get(void *h, const char *key, char *out, int n) {
  char prefix[50], whole[200];
  prefix_of(h, prefix);
  snprintf(whole, sizeof whole, "%s.%s", prefix, key);
  return look(whole, out, n);
}

static int fault(void *h, const char *call) {
  char key[150], b[50];
  void *device = (void *)((size_t)h & 255);
  count_call(call);
  if (n_devices() < 0) return 1;
  if ((int)((size_t)device) > n_devices()) return 2;
  if (get(device, "err", b, sizeof b)) return atoi(b);
  snprintf(key, sizeof key, "err.%s", call);
  if (get(h, key, b, sizeof b)) return atoi(b);
  return 0;
}

#define ASK(h) do { int fault_ = fault(h, __func__); if (fault_) return fault_; } while (0)

static int number(void *h, const char *key, double *out) {
  char b[100];
  if (!get(h, key, b, sizeof b)) return 3;
  *out = atof(b);
  return 0;
}

static int whole(void *h, const char *key, u *out) {
  double d;
  int r = number(h, key, &d);
  if (!r) *out = (u)d;
  return r;
}

static int text(void *h, const char *key, char *out, u n) {
  char b[4000];
  if (!get(h, key, b, sizeof b)) return 3;
  if (strlen(b) + 1 > n) return 7;
  strcpy(out, b);
  return 0;
}

int nvmlInitWithFlags(u f) { (void)f; count_call(__func__); return n_devices() < 0 ? 9 : 0; }
int nvmlShutdown(void) { return 0; }
const char *nvmlErrorString(int r) { static char b[32]; snprintf(b, sizeof b, "stub error %d", r); return b; }
int nvmlSystemGetDriverVersion(char *b, u n) { snprintf(b, n, "580.00-stub"); return 0; }
int nvmlSystemGetCudaDriverVersion_v2(int *v) { *v = 13000; return 0; }
int nvmlDeviceGetCount_v2(u *c) { int n = n_devices(); if (n < 0) return 1; *c = n; return 0; }
int nvmlDeviceGetHandleByIndex_v2(u i, void **h) {
  void *device = (void *)(size_t)(i + 1);
  ASK(device);
  *h = device;
  return 0;
}
int nvmlDeviceGetName(void *h, char *b, u n) { ASK(h); return text(h, "name", b, n); }
int nvmlDeviceGetUUID(void *h, char *b, u n) { ASK(h); return text(h, "uuid", b, n); }
int nvmlDeviceGetCudaComputeCapability(void *h, int *major, int *minor) {
  char b[50];
  ASK(h);
  if (!get(h, "capability", b, sizeof b)) return 3;
  return sscanf(b, "%d.%d", major, minor) == 2 ? 0 : 999;
}
int nvmlDeviceGetUtilizationRates(void *h, u *r) {
  ASK(h);
  int f = whole(h, "gpu", &r[0]);
  return f ? f : whole(h, "memory_busy", &r[1]);
}
static int memory(void *h, double *total, double *reserved, double *used) {
  int f = number(h, "memory_total", total);
  if (f || (f = number(h, "memory_used", used))) return f;
  if (number(h, "memory_reserved", reserved)) *reserved = 0;
  return 0;
}
int nvmlDeviceGetMemoryInfo(void *h, ull *m) { /* what is reserved counts as used here */
  double total, reserved, used;
  ASK(h);
  int f = memory(h, &total, &reserved, &used);
  if (f) return f;
  m[0] = total; m[1] = total - used - reserved; m[2] = used + reserved;
  return 0;
}
int nvmlDeviceGetMemoryInfo_v2(void *h, ull *m) {
  double total, reserved, used;
  ASK(h);
  int f = memory(h, &total, &reserved, &used);
  if (f) return f;
  m[1] = total; m[2] = reserved; m[3] = total - used - reserved; m[4] = used;
  return 0;
}
int nvmlDeviceGetPowerUsage(void *h, u *p) { ASK(h); return whole(h, "power_mw", p); }
int nvmlDeviceGetEnforcedPowerLimit(void *h, u *p) { ASK(h); return whole(h, "power_limit_mw", p); }
int nvmlDeviceGetTotalEnergyConsumption(void *h, ull *e) {
  double d;
  ASK(h);
  int f = number(h, "energy_mj", &d);
  if (!f) *e = (ull)d;
  return f;
}
int nvmlDeviceGetTemperature(void *h, int sensor, u *t) { ASK(h); (void)sensor; return whole(h, "temperature", t); }
int nvmlDeviceGetTemperatureV(void *h, int *t) { u found; ASK(h); int f = whole(h, "temperature", &found); t[2] = (int)found; return f; }
int nvmlDeviceGetClockInfo(void *h, int kind, u *c) {
  static const char *names[] = {"graphics_clock", "sm_clock", "memory_clock", "video_clock"};
  ASK(h);
  return kind < 0 || kind > 3 ? 2 : whole(h, names[kind], c);
}
int nvmlDeviceGetPerformanceState(void *h, u *p) { ASK(h); return whole(h, "pstate", p); }
int nvmlDeviceGetCurrentClocksThrottleReasons(void *h, ull *r) {
  u bits;
  ASK(h);
  int f = whole(h, "throttle", &bits);
  if (!f) *r = bits;
  return f;
}
int nvmlDeviceGetCurrentClocksEventReasons(void *h, ull *r) {
  u bits;
  ASK(h);
  int f = whole(h, "throttle", &bits);
  if (!f) *r = bits;
  return f;
}
int nvmlDeviceGetFanSpeed(void *h, u *s) { ASK(h); return whole(h, "fan", s); }
int nvmlDeviceGetTotalEccErrors(void *h, int kind, int counter, ull *n) {
  u found;
  ASK(h);
  (void)counter;
  int f = whole(h, kind ? "ecc_uncorrected" : "ecc_corrected", &found);
  if (!f) *n = found;
  return f;
}
int nvmlDeviceGetEncoderUtilization(void *h, u *v, u *period) { ASK(h); *period = 0; return whole(h, "encoder", v); }
int nvmlDeviceGetDecoderUtilization(void *h, u *v, u *period) { ASK(h); *period = 0; return whole(h, "decoder", v); }
int nvmlDeviceGetCurrPcieLinkGeneration(void *h, u *v) { ASK(h); return whole(h, "pcie_generation", v); }
int nvmlDeviceGetCurrPcieLinkWidth(void *h, u *v) { ASK(h); return whole(h, "pcie_width", v); }
int nvmlDeviceGetPcieSpeed(void *h, u *v) { ASK(h); return whole(h, "pcie_speed", v); }
int nvmlDeviceGetMaxPcieLinkGeneration(void *h, u *v) { ASK(h); return whole(h, "pcie_generation_max", v); }
int nvmlDeviceGetMaxPcieLinkWidth(void *h, u *v) { ASK(h); return whole(h, "pcie_width_max", v); }
int nvmlDeviceGetBrand(void *h, u *v) { ASK(h); return whole(h, "brand", v); }
int nvmlDeviceGetArchitecture(void *h, u *v) { ASK(h); return whole(h, "architecture", v); }
int nvmlDeviceGetNumGpuCores(void *h, u *v) { ASK(h); return whole(h, "cores", v); }
int nvmlDeviceGetPcieThroughput(void *h, int counter, u *kb) { ASK(h); return whole(h, counter ? "pcie_rx_kib" : "pcie_tx_kib", kb); }
int nvmlDeviceGetNvLinkState(void *h, u link, u *active) {
  u n;
  ASK(h);
  int f = whole(h, "nvlinks", &n);
  if (f) return f;
  if (link >= n) return 2;
  *active = 1;
  return 0;
}
typedef struct { u id, scope; ll timestamp, latency; u kind; int result; union { double d; ull n; } value; } Field;
int nvmlDeviceGetFieldValues(void *h, int n, Field *fields) {
  ASK(h);
  for (int i = 0; i < n; i++) {
    char key[50];
    double d = 0;
    snprintf(key, sizeof key, "field.%u", fields[i].id);
    fields[i].result = number(h, key, &d);
    fields[i].kind = 3;
    fields[i].value.n = (ull)d;
  }
  return 0;
}
int nvmlDeviceGetMigMode(void *h, u *now, u *next) {
  ASK(h);
  int f = whole(h, "mig_mode", now);
  *next = *now;
  return f;
}
int nvmlDeviceGetMaxMigDeviceCount(void *h, u *n) { ASK(h); return whole(h, "mig_max", n); }
int nvmlDeviceGetMigDeviceHandleByIndex(void *h, u i, void **out) {
  char b[200];
  void *slice = (void *)((size_t)h | (size_t)(i + 1) << 8);
  ASK(h);
  if (!get(slice, "uuid", b, sizeof b)) return 6;
  *out = slice;
  return 0;
}
int nvmlDeviceGetGpuInstanceId(void *h, u *id) { ASK(h); return whole(h, "instance", id); }
typedef struct { u pid; ull bytes; u gi, ci; } Process;
typedef struct { u pid; ull time; u sm, mem, enc, dec; } Use;
static int processes(void *h, Process *out, Use *uses, int max) {
  char b[4000], *save = 0;
  int n = 0;
  if (!get(h, "processes", b, sizeof b)) return -1;
  for (char *one = strtok_r(b, ",", &save); one && n < max; one = strtok_r(0, ",", &save)) {
    u pid, share = 0;
    ull bytes = 0;
    if (sscanf(one, "%u:%llu:%u", &pid, &bytes, &share) < 2) continue;
    out[n] = (Process){pid, bytes ? bytes : ~0ull, 0xFFFFFFFF, 0xFFFFFFFF};
    uses[n] = (Use){pid, 1000 + n, share, 1, 0, 0};
    n++;
  }
  return n;
}
int nvmlDeviceGetComputeRunningProcesses_v3(void *h, u *count, Process *out) {
  Process there[100];
  Use uses[100];
  ASK(h);
  int n = processes(h, there, uses, 100);
  if (n < 0) return 3;
  int is_small = !out || (int)*count < n;
  *count = n;
  if (!n) return 0;
  if (is_small) return 7;
  memcpy(out, there, n * sizeof *out);
  return 0;
}
int nvmlDeviceGetProcessUtilization(void *h, Use *out, u *count, ull since) {
  Process there[100];
  Use uses[100];
  ASK(h);
  (void)since;
  int n = processes(h, there, uses, 100);
  if (n < 0) return 3;
  if (!n) return 6;
  int is_small = !out || (int)*count < n;
  *count = n;
  if (is_small) return 7;
  memcpy(out, uses, n * sizeof *out);
  return 0;
}
typedef struct { u version, is_supported; } Support;
int nvmlGpmQueryDeviceSupport(void *h, Support *s) {
  double d;
  ASK(h);
  s->is_supported = !number(h, "gpm", &d) && d;
  return 0;
}
int nvmlGpmSampleAlloc(void **s) { *s = calloc(1, sizeof(void *)); return *s ? 0 : 20; }
int nvmlGpmSampleFree(void *s) { free(s); return 0; }
int nvmlGpmSampleGet(void *h, void *s) { ASK(h); *(void **)s = h; return 0; }
int nvmlGpmMigSampleGet(void *h, u instance, void *s) {
  ASK(h);
  for (size_t slice = 1; slice < 9; slice++) {
    void *handle = (void *)((size_t)h | slice << 8);
    u id;
    if (!whole(handle, "instance", &id) && id == instance) { *(void **)s = handle; return 0; }
  }
  return 6;
}
typedef struct { u id; int result; double value; char *names[3]; } GpmMetric;
typedef struct { u version, n; void *first, *second; GpmMetric metrics[1]; } GpmGet;
int nvmlGpmMetricsGet(GpmGet *g) {
  void *h = *(void **)g->second;
  count_call(__func__);
  for (u i = 0; i < g->n; i++) {
    char key[50];
    snprintf(key, sizeof key, "gpm.%u", g->metrics[i].id);
    g->metrics[i].result = number(h, key, &g->metrics[i].value);
  }
  return 0;
}
