/*
 * A host in C for the same backplane.wasm: an AHA-1542 on RAM and a disk that are arrays of this program. It resets the
 * board, reads a sector by DMA, and prints what it read. docs/EMBEDDING.md explains every call.
 *
 * wasm2c (Debian: wabt) makes C of the module; README.md beside this file has the three commands.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "backplane.h"

/* From assembly/bus/layout.ts and codes.ts, as docs/EMBEDDING.md lists them. */
enum { LAYOUT_VERSION = 6, AT_VERSION = 0x10004, AT_IRQ_LINES = 0x10018, AT_SCRATCH = 0x10800, AT_RUNS = 0x11000, AT_RUN_ADDRESSES = 0xd2000 };
enum { KIND_AHA1542 = 1, DISK_HOST = 2, MEDIA_OK = 0, IRQ = 11 };

enum { PAGES = 48, RAM_SIZE = 1 << 20, SECTORS = 64, REQUESTS = 4096 };
static u8 ram[RAM_SIZE];
static u8 disk_bytes[SECTORS * 512];
static u32 first_sector[REQUESTS]; /* of each media request, by the low 12 bits of its handle */

/* ---- what the module imports */

struct Z_env_instance_t { wasm_rt_memory_t memory; };
struct Z_host_instance_t { struct Z_env_instance_t *env; };

static struct Z_env_instance_t env;
static struct Z_host_instance_t host = { &env };
static Z_backplane_instance_t hw;

wasm_rt_memory_t *Z_envZ_memory(struct Z_env_instance_t *e) { return &e->memory; }

/* The module's memory; it is little endian, and so is every host that this example is for. */
static u8 *inside(u32 at) { return env.memory.data + at; }
static u32 word(u32 at) { u32 value; memcpy(&value, inside(at), 4); return value; }
static void set_word(u32 at, u32 value) { memcpy(inside(at), &value, 4); }

void Z_hostZ_memoryRead(struct Z_host_instance_t *h, u32 low, u32 high, u32 to, u32 bytes) {
  (void)h, (void)high; /* this machine has no RAM above 4 GiB, so the module never asks for any */
  memcpy(inside(to), ram + low, bytes);
}

void Z_hostZ_memoryWrite(struct Z_host_instance_t *h, u32 low, u32 high, u32 from, u32 bytes) {
  (void)h, (void)high;
  memcpy(ram + low, inside(from), bytes);
}

/* Copies between `bytes` and the run list, whose entries are here or in the module's memory. */
static void move_runs(u32 first, u32 runs, u8 *bytes, int to_memory) {
  for (u32 i = first; i < first + runs; i++) {
    u32 at = word(AT_RUNS + 8 * i), length = word(AT_RUNS + 8 * i + 4);
    u8 *memory = at != 0 ? inside(at) : ram + word(AT_RUN_ADDRESSES + 8 * i);
    if (to_memory) memcpy(memory, bytes, length);
    else memcpy(bytes, memory, length);
    bytes += length;
  }
}

void Z_hostZ_memoryMove(struct Z_host_instance_t *h, u32 first, u32 runs, u32 at, u32 to_memory) {
  (void)h;
  move_runs(first, runs, inside(at), to_memory != 0);
}

u32 Z_hostZ_mediaStart(struct Z_host_instance_t *h, u32 disk, u32 request, u32 operation, u32 low, u32 high, u32 count) {
  (void)h, (void)disk, (void)operation, (void)high, (void)count;
  first_sector[request % REQUESTS] = low;
  return 0; /* data can be moved at once */
}

u32 Z_hostZ_mediaTransfer(struct Z_host_instance_t *h, u32 disk, u32 request, u32 low, u32 high, u32 bytes, u32 runs, u32 to_memory) {
  (void)h, (void)disk, (void)high;
  move_runs(0, runs, disk_bytes + first_sector[request % REQUESTS] * 512 + low, to_memory != 0);
  return bytes;
}

u32 Z_hostZ_mediaFinish(struct Z_host_instance_t *h, u32 disk, u32 request) {
  (void)h, (void)disk, (void)request;
  return MEDIA_OK;
}

void Z_hostZ_mediaDrop(struct Z_host_instance_t *h, u32 disk, u32 request) { (void)h, (void)disk, (void)request; }

/* ---- the machine: the board's ports, its interrupt line, time */

static u32 board;

static u32 in(u32 port) { return Z_backplaneZ_barRead(&hw, board, 0, port, 1) & 0xff; }
static void out(u32 port, u32 value) { Z_backplaneZ_barWrite(&hw, board, 0, port, 1, value); }
static int interrupted(void) { return (word(AT_IRQ_LINES) >> IRQ) & 1; }

static void pass_time(void) {
  static u32 calls;
  if (++calls > 1000000) {
    fprintf(stderr, "the board does not answer\n");
    exit(1);
  }
  Z_backplaneZ_run(&hw, Z_backplaneZ_now(&hw) + 1000, 10000); /* a microsecond, at most 10,000 events */
}

static void need(u32 result, const char *what) {
  if (result != 0) return;
  fprintf(stderr, "refused: %s\n", what);
  exit(1);
}

static void build(void) {
  need(Z_backplaneZ_init(&hw, PAGES * 65536), "init");
  need(word(AT_VERSION) == LAYOUT_VERSION, "a module of another layout");
  need(Z_backplaneZ_addExternal(&hw, 0, 0, RAM_SIZE), "addExternal");
  /* The profile: 24 address lines, then the words of the AHA-1542. */
  static const u32 profile[] = { 24, 0, 0, 0, 0, 0, 0, 0, 0x330, IRQ, 5, 7, 0x45, 0x30, 0x30, 0x31, 1, 8, 0, 17, 50000 };
  for (u32 i = 0; i < sizeof profile / sizeof *profile; i++) set_word(AT_SCRATCH + 4 * i, profile[i]);
  need(board = Z_backplaneZ_createController(&hw, KIND_AHA1542, IRQ), "createController");
  u32 disk = Z_backplaneZ_createDisk(&hw, DISK_HOST, SECTORS, 0, 9);
  need(disk, "createDisk");
  need(Z_backplaneZ_attachDisk(&hw, board, 0, 0, disk), "attachDisk");
}

/* ---- the guest: a driver of a few lines (AHA-1540B/1542B Technical Reference Manual) */

enum { STATUS_IDLE = 0x10, HARD_RESET = 0x80, INTERRUPT_RESET = 0x20, MAILBOX_INIT = 1, START_SCSI = 2 };
enum { MAILBOXES = 0x1000, CCB = 0x2000, DATA = 0x3000 };

static void command(u32 byte) {
  while (in(0) & 0x08) pass_time(); /* the board has not taken the byte before */
  out(1, byte);
}

static void reset(void) {
  out(0, HARD_RESET);
  while (!(in(0) & STATUS_IDLE)) pass_time();
  command(MAILBOX_INIT);
  command(1); /* one mailbox each way */
  command(MAILBOXES >> 16);
  command((MAILBOXES >> 8) & 0xff);
  command(MAILBOXES & 0xff);
  while (!interrupted()) pass_time();
  out(0, INTERRUPT_RESET);
}

/* Has the board run a command descriptor block of target 0; the target's status. */
static u32 scsi(const u8 *cdb, u32 length, u32 bytes) {
  u8 *ccb = ram + CCB, *mailbox = ram + MAILBOXES;
  memset(ccb, 0, 64);
  ccb[2] = length;
  ccb[4] = bytes >> 16, ccb[5] = bytes >> 8, ccb[6] = bytes;
  ccb[7] = DATA >> 16, ccb[8] = (DATA >> 8) & 0xff, ccb[9] = DATA & 0xff;
  memcpy(ccb + 18, cdb, length);
  mailbox[0] = 1, mailbox[1] = CCB >> 16, mailbox[2] = (CCB >> 8) & 0xff, mailbox[3] = CCB & 0xff;
  command(START_SCSI);
  while (!interrupted()) pass_time();
  out(0, INTERRUPT_RESET);
  mailbox[4] = 0; /* the in mailbox is free again */
  return ccb[15];
}

int main(void) {
  for (u32 i = 0; i < SECTORS; i++) sprintf((char *)disk_bytes + 512 * i, "this is sector %u, by DMA", i);
  wasm_rt_init();
  wasm_rt_allocate_memory(&env.memory, PAGES, PAGES);
  Z_backplane_init_module();
  Z_backplane_instantiate(&hw, &env, &host);
  build();

  reset();
  printf("reset: status %02x\n", in(0));
  static const u8 test_unit_ready[6] = { 0 };
  printf("test unit ready: status %02x\n", scsi(test_unit_ready, 6, 0));
  static const u8 read_sector_5[10] = { 0x28, 0, 0, 0, 0, 5, 0, 0, 1, 0 };
  printf("read: status %02x\n", scsi(read_sector_5, 10, 512));
  printf("in RAM: \"%s\"\n", (const char *)ram + DATA);

  Z_backplane_free(&hw);
  wasm_rt_free_memory(&env.memory);
  wasm_rt_free();
  return 0;
}
