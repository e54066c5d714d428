// The state of an NVMe controller: registers, queues, namespaces, and the commands that it has fetched. All in one
// block, offsets only, so that a snapshot is a copy.
//
// [1] NVM Express 1.4
// [2] PCI Local Bus 3.0, 6.8: MSI and MSI-X
import { Device } from '../bus/device';
import { Disk } from '../media/media';
import { NVME_QUEUES_MAX } from './regs';

/** The controller's own events. */
export const EVENT_WORK: u32 = 1;
export const EVENT_READY: u32 = 2;
export const EVENT_STOPPED: u32 = 3;
export const EVENT_SHUTDOWN: u32 = 4;
export const EVENT_COALESCE: u32 = 5;
export const EVENT_RETRY: u32 = 6;

/** Commands that are fetched and not ended, of all I/O queues and of the admin queue. */
export const IO_COMMANDS: u32 = 1024;
export const ADMIN_COMMANDS: u32 = 16;
/** Events that the host may ask for at once ([1] AERL, 0's based there). */
export const EVENTS_MAX: u32 = 4;
export const ERROR_ENTRIES: u32 = 16;
export const FEATURE_COUNT: u32 = 16;
export const FIRMWARE_SLOTS: u32 = 3;
/** Ranges of a Dataset Management command wait here; more of these commands wait for one that is free. */
export const RANGE_BUFFERS: u32 = 8;
export const PAGE: u32 = 4096;
/** No slot, no buffer. */
export const NONE: u32 = 0xffffffff;

/** Life of the controller ([1] 3.1.5, 3.1.6). */
export const STATE_DISABLED: u32 = 0;
export const STATE_STARTING: u32 = 1;
export const STATE_READY: u32 = 2;
export const STATE_STOPPING: u32 = 3;

@unmanaged
export class Nvme extends Device {
  capLow: u32;
  capHigh: u32;
  /** INTMS and INTMC: vectors that are masked. */
  masked: u32;
  cc: u32;
  csts: u32;
  aqa: u32;
  asq: u64;
  acq: u64;
  state: u32;
  /** Log2 of the page that CC.MPS chose. */
  pageShift: u32;
  queueCount: u32;
  queuesAllowed: u32;
  vectors: u32;
  stride: u32;
  sgl: u32;
  /** Non-zero: there is a volatile write cache. */
  cache: u32;
  mdts: u32;
  readyDelay: u32;
  namespaceCount: u32;

  // Offsets of the parts behind the block.
  queues: u32;
  completions0: u32;
  namespaces: u32;
  commands0: u32;
  /** A page that Identify data and logs are made in. */
  page: u32;
  /** Two buffers of the largest transfer: what Compare compares. */
  compare: u32;
  ranges: u32;
  /** Buffers of `ranges` that are taken, one bit each. */
  rangesTaken: u32;
  firmware: u32;
  errors: u32;
  features: u32;

  /** Submission queues with entries to fetch, completion queues with ended commands that found no room, and those
   * whose interrupt is due: a bit each. */
  work: u64;
  full: u64;
  dirty: u64;
  /** Completion queues whose entries the host has not taken: what INTx is asserted for. */
  raised: u64;
  /** Non-zero while the event is in the queue. */
  working: u32;
  retrying: u32;
  /** Queue whose turn is next; credits of the weighted classes ([1] 4.13). */
  turn: u32;
  creditHigh: u32;
  creditMedium: u32;
  creditLow: u32;
  /** Free slots of I/O and admin commands; commands that wait for a media request. */
  freeIo: u32;
  freeAdmin: u32;
  waiting: u32;
  /** Flushes of a shutdown that are not done. */
  flushes: u32;

  // Controller memory buffer and persistent memory region: windows (0: not there), bytes, CMBMSC and PMRMSC.
  cmb: u32;
  cmbBytes: u32;
  /** What the buffer is for, NVME_CMBSZ_* bits. */
  cmbUses: u32;
  /** Non-zero: commands reach it at the address of CMBMSC; that address cannot be. */
  cmbDirect: u32;
  cmbInvalid: u32;
  pmr: u32;
  cmbControl: u64;
  pmrControl: u64;
  pmrBytes: u32;
  /** PMRCTL.EN. */
  pmrOn: u32;
  pmrDirect: u32;
  pmrInvalid: u32;

  // Asynchronous events ([1] 5.2).
  eventCount: u32;
  eventIds: u64;
  eventPending0: u32;
  eventPending1: u32;
  eventPending2: u32;
  /** Types that wait for their log to be read. */
  eventMasked: u32;
  changed: u32;
  warning: u32;

  errorCount: u64;
  /** Host identifier and time stamp: not in the table of features, they are longer. */
  hostId0: u64;
  hostId1: u64;
  timestamp: u64;
  timestampAt: u64;
  timestampSet: u32;

  firmwareSlot: u32;
  firmwareNext: u32;
  firmwareBytes: u32;
  revision1: u64;
  revision2: u64;
  revision3: u64;

  /** Vector masks of interrupt coalescing: those that do not coalesce, those with a timer, completions so far. */
  coalesceOff: u64;
  coalesceTimers: u64;
  coalesceCount: u32;

  // SMART ([1] 5.14.1.2).
  reads: u64;
  writes: u64;
  blocksRead: u64;
  blocksWritten: u64;
  mediaErrors: u64;
  powerCycles: u32;
  unsafe: u32;
}

@unmanaged
export class Queue {
  exists: u32;
  base: u64;
  size: u32;
  head: u32;
  tail: u32;
  /** Completion queue; priority class 0 (urgent) to 3 (low). */
  cq: u32;
  priority: u32;
  reserved: u32;
}

@unmanaged
export class Completions {
  exists: u32;
  base: u64;
  size: u32;
  head: u32;
  tail: u32;
  phase: u32;
  vector: u32;
  interrupts: u32;
  /** Submission queues that use it. */
  users: u32;
  /** Ended commands that found no room: first and last slot. */
  first: u32;
  last: u32;
}

@unmanaged
export class Namespace {
  disk: u32;
  lbaShift: u32;
  formatting: u32;
  /** The request of a shutdown's flush. */
  flush: u32;
}

/** What is asked for between fetching and completing lies in the first cache line. */
@unmanaged
export class Command {
  next: u32;
  index: u32;
  sq: u32;
  cid: u32;
  opcode: u32;
  nsid: u32;
  /** The data pointer: two PRP entries, or one SGL descriptor. */
  prp1: u64;
  prp2: u64;
  request: u32;
  /** Bytes of data. */
  bytes: u32;
  status: u32;
  /** Dword 0 of the completion. */
  result: u32;
  /** 1: it is with the controller; 2: it is over, and waits for room in its completion queue. */
  busy: u8;
  /** PSDT. */
  psdt: u8;
  step: u8;
  /** Buffer of ranges, NONE without; the next range is `at`. */
  buffer: u32;
  cdw10: u32;
  cdw11: u32;
  cdw12: u32;
  cdw13: u32;
  cdw14: u32;
  cdw15: u32;
  at: u32;
  /** What the medium is asked for. */
  operation: u32;
  lba: u64;
  sector: u64;
  sectors: u32;
}

export const QUEUE_STRIDE: u32 = 64;
export const COMPLETIONS_STRIDE: u32 = 64;
export const NAMESPACE_STRIDE: u32 = 16;
export const COMMAND_STRIDE: u32 = 128;
/** The scratch memory of one fetch lies behind the controller's fields: an entry, or a stretch of a list. */
export const SCRATCH: u32 = 1024;

export function checkLayout(): void {
  assert(offsetof<Queue>() <= QUEUE_STRIDE && offsetof<Completions>() <= COMPLETIONS_STRIDE);
  assert(offsetof<Namespace>() <= NAMESPACE_STRIDE && offsetof<Command>() <= COMMAND_STRIDE);
  assert(NVME_QUEUES_MAX < 64);
}

export function queueAt(d: Nvme, id: u32): Queue {
  return changetype<Queue>(<usize>d.queues + id * QUEUE_STRIDE);
}
export function completionsAt(d: Nvme, id: u32): Completions {
  return changetype<Completions>(<usize>d.completions0 + id * COMPLETIONS_STRIDE);
}
export function commandAt(d: Nvme, index: u32): Command {
  return changetype<Command>(<usize>d.commands0 + index * COMMAND_STRIDE);
}
/** Namespace `nsid`, 1 and up. */
export function namespaceAt(d: Nvme, nsid: u32): Namespace {
  return changetype<Namespace>(<usize>d.namespaces + (nsid - 1) * NAMESPACE_STRIDE);
}

export function scratchOf(d: Nvme): usize {
  return changetype<usize>(d) + offsetof<Nvme>();
}

export function isActive(d: Nvme, nsid: u32): bool {
  return nsid - 1 < d.namespaceCount && namespaceAt(d, nsid).disk != 0;
}

export function diskAt(n: Namespace): Disk {
  return changetype<Disk>(<usize>n.disk);
}

/** Logical blocks of a namespace. */
export function blocksOf(n: Namespace): u64 {
  return diskAt(n).sectors >> <u64>(n.lbaShift - diskAt(n).sectorShift);
}

export function bit(i: u32): u64 {
  return (<u64>1) << (<u64>i);
}

/** Takes a free slot, null when there is none. */
export function takeCommand(d: Nvme, admin: bool): Command | null {
  const index = admin ? d.freeAdmin : d.freeIo;
  if (index == NONE) return null;
  const c = commandAt(d, index);
  if (admin) d.freeAdmin = c.next;
  else d.freeIo = c.next;
  c.busy = 1;
  c.next = NONE;
  return c;
}

export function freeCommand(d: Nvme, c: Command): void {
  c.busy = 0;
  if (c.index >= IO_COMMANDS) {
    c.next = d.freeAdmin;
    d.freeAdmin = c.index;
  } else {
    c.next = d.freeIo;
    d.freeIo = c.index;
  }
}

/** Every slot is free. */
export function freeAll(d: Nvme): void {
  d.freeIo = NONE;
  d.freeAdmin = NONE;
  d.waiting = NONE;
  for (let i: u32 = IO_COMMANDS + ADMIN_COMMANDS; i > 0; i--) {
    const c = commandAt(d, i - 1);
    c.index = i - 1;
    c.request = 0;
    c.buffer = NONE;
    freeCommand(d, c);
  }
}
