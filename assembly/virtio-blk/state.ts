// The state of a virtio block device: the device, its queues, and a slot for every request in hand. Queues and slots
// lie in blocks of their own; everything is offsets, so that a snapshot is a copy.
//
// [1] Virtual I/O Device (VIRTIO) 1.2, OASIS committee specification 01
// [2] PCI Local Bus 3.0
import { cancel } from '../bus/clock';
import { Device, functionOf } from '../bus/device';
import { setLine } from '../bus/irq';
import { msixEnabled, sendMsix } from '../bus/msix';
import { Disk, dropRequest, Request } from '../media/media';
import {
  BLK_RANGE_BYTES,
  BLK_RANGE_MAX,
  VIRTIO_BLK_F_CONFIG_WCE,
  VIRTIO_BLK_F_FLUSH,
  VIRTIO_DRIVER_OK,
  VIRTIO_F_EVENT_IDX,
  VIRTIO_F_RING_PACKED,
  VIRTIO_F_VERSION_1,
  VIRTIO_ISR_CONFIG,
  VIRTIO_ISR_QUEUE,
  VIRTIO_NEEDS_RESET,
  VIRTIO_NO_VECTOR,
} from './regs';

/** The device's own events: used buffers of a queue (its number) are due; requests that wait try again. */
export const EVENT_USED: u32 = 1;
export const EVENT_RETRY: u32 = 2;

/** Requests that a device has in hand at most; more wait in their rings. */
export const SLOT_MAX: u32 = 256;

export const SLOT_FREE: u32 = 0;
export const SLOT_BUSY: u32 = 1;
/** No media request was free. */
export const SLOT_WAITING: u32 = 2;

// Scratch memory behind the device's fields: heads of chains, one descriptor, a window into an indirect table, a
// header or status.
const HEADS_AT: u32 = 0;
export const HEADS: u32 = 32;
const DESC_AT: u32 = 64;
const WINDOW_AT: u32 = 80;
export const WINDOW: u32 = 32;
const SMALL_AT: u32 = WINDOW_AT + WINDOW * 16;
export const SCRATCH: u32 = SMALL_AT + 32;

@unmanaged
export class VirtioBlk extends Device {
  /** Offset of the disk, 0: none. */
  disk: u32;
  // What the device offers (profile); FLUSH and so on, without what depends on the disk.
  offered: u32;
  offeredHigh: u32;
  transitional: u32;
  queueCount: u32;
  queueMax: u32;
  /** 0: no such limit. */
  segMax: u32;
  sizeMax: u32;
  /** Descriptors of one chain, whatever way it is described. */
  chainMax: u32;
  multiplier: u32;
  discardSectors: u32;
  zeroesSectors: u32;
  ranges: u32;

  status: u32;
  featureSelect: u32;
  driverSelect: u32;
  accepted: u32;
  acceptedHigh: u32;
  queueSelect: u32;
  configVector: u32;
  generation: u32;
  isr: u32;
  writeback: u32;
  retrying: u32;

  queues: u32;
  queueStride: u32;
  slots: u32;
  slotCount: u32;
  slotStride: u32;
  /** Offset of the first free slot, 0: none. */
  freeSlot: u32;
}

@unmanaged
export class Queue {
  index: u32;
  size: u32;
  enabled: u32;
  vector: u32;
  /** Legacy: the queue's address as it was written. */
  frame: u32;
  /** Split: index of the next entry of the available ring. Packed: next descriptor, and its wrap counter. */
  next: u32;
  nextWrap: u32;
  /** The same for what is used. */
  used: u32;
  usedWrap: u32;
  /** Used buffers that are not written yet; non-zero once EVENT_USED is in the queue. */
  pending: u32;
  due: u32;
  /** Non-zero: entries wait for a free slot. */
  stalled: u32;
  desc: u64;
  driver: u64;
  device: u64;
}

/** A request in hand, then its ranges (discard, write zeroes), then the segments of its chain. */
@unmanaged
export class Slot {
  next: u32;
  state: u32;
  queue: u32;
  /** Split: index of the chain's head. Packed: buffer id, and how many descriptors of the ring it took. */
  head: u32;
  descriptors: u32;
  request: u32;
  type: u32;
  /** What the medium is asked for. */
  operation: u32;
  sector: u64;
  sectors: u32;
  rangeCount: u32;
  rangeNext: u32;
  /** Descriptors seen; segments kept, of which the first `readable` are for the device to read. */
  entries: u32;
  segments: u32;
  readable: u32;
  readBytes: u64;
  writeBytes: u64;
  statusAt: u64;
  /** Data: first segment, and bytes. */
  first: u32;
  bytes: u32;
  /** Non-zero: memory was missing. */
  faulted: u32;
}

/** A segment: address (64 bit), length. */
export const SEGMENT_BYTES: u32 = 16;
export const SEGMENT_LENGTH: usize = 8;
const RANGES_AT: u32 = 128;
const SEGMENTS_AT: u32 = RANGES_AT + BLK_RANGE_MAX * BLK_RANGE_BYTES;
/** Used buffers that wait to be written: id and length. */
const QUEUE_FIELDS: u32 = 96;
const USED_BYTES: u32 = 8;

export function checkLayout(): void {
  assert(offsetof<Slot>() <= RANGES_AT && offsetof<Queue>() <= QUEUE_FIELDS);
}
export function slotBytes(chainMax: u32): u32 {
  return SEGMENTS_AT + chainMax * SEGMENT_BYTES;
}
export function queueBytes(queueMax: u32): u32 {
  return QUEUE_FIELDS + queueMax * USED_BYTES;
}

export function queueAt(d: VirtioBlk, i: u32): Queue {
  return changetype<Queue>(<usize>d.queues + i * d.queueStride);
}
export function slotAt(d: VirtioBlk, i: u32): Slot {
  return changetype<Slot>(<usize>d.slots + i * d.slotStride);
}
export function slotIndex(d: VirtioBlk, s: Slot): u32 {
  return (<u32>changetype<usize>(s) - d.slots) / d.slotStride;
}
export function rangeAt(s: Slot, i: u32): usize {
  return changetype<usize>(s) + RANGES_AT + i * BLK_RANGE_BYTES;
}
export function segmentAt(s: Slot, i: u32): usize {
  return changetype<usize>(s) + SEGMENTS_AT + i * SEGMENT_BYTES;
}
export function usedAt(q: Queue, i: u32): usize {
  return changetype<usize>(q) + QUEUE_FIELDS + i * USED_BYTES;
}

export function headScratch(d: VirtioBlk): usize {
  return changetype<usize>(d) + offsetof<VirtioBlk>() + HEADS_AT;
}
export function descScratch(d: VirtioBlk): usize {
  return changetype<usize>(d) + offsetof<VirtioBlk>() + DESC_AT;
}
export function windowScratch(d: VirtioBlk): usize {
  return changetype<usize>(d) + offsetof<VirtioBlk>() + WINDOW_AT;
}
export function smallScratch(d: VirtioBlk): usize {
  return changetype<usize>(d) + offsetof<VirtioBlk>() + SMALL_AT;
}

export function diskOfDevice(d: VirtioBlk): Disk | null {
  return d.disk == 0 ? null : changetype<Disk>(<usize>d.disk);
}

export function isPacked(d: VirtioBlk): bool {
  return (d.acceptedHigh & VIRTIO_F_RING_PACKED) != 0;
}
export function hasEvents(d: VirtioBlk): bool {
  return (d.accepted & VIRTIO_F_EVENT_IDX) != 0;
}
/** The driver uses the legacy interface ([1] 2.2.3): it did not accept VERSION_1. */
export function isLegacy(d: VirtioBlk): bool {
  return d.transitional != 0 && (d.acceptedHigh & VIRTIO_F_VERSION_1) == 0;
}
/** Buffers may be used: DRIVER_OK, which legacy drivers set late ([1] 3.1.2), and no need of a reset. */
export function isRunning(d: VirtioBlk): bool {
  if ((d.status & VIRTIO_NEEDS_RESET) != 0) return false;
  return (d.status & VIRTIO_DRIVER_OK) != 0 || isLegacy(d);
}
/** Whether a write has to be stable when it is reported ([1] 5.2.6.2). */
export function writesThrough(d: VirtioBlk): bool {
  if ((d.accepted & VIRTIO_BLK_F_CONFIG_WCE) != 0) return d.writeback == 0;
  return (d.accepted & VIRTIO_BLK_F_FLUSH) == 0;
}

/** Remembers what DMA is done for. */
export function nameCommand(d: VirtioBlk, s: Slot): void {
  d.command = (s.queue << 16) | s.head;
}

export function takeSlot(d: VirtioBlk, q: Queue, head: u32): Slot {
  assert(d.freeSlot != 0);
  const s = changetype<Slot>(<usize>d.freeSlot);
  d.freeSlot = s.next;
  s.state = SLOT_BUSY;
  s.queue = q.index;
  s.head = head;
  s.descriptors = 0;
  s.request = 0;
  s.rangeCount = 0;
  s.rangeNext = 0;
  s.entries = 0;
  s.segments = 0;
  s.readable = 0;
  s.readBytes = 0;
  s.writeBytes = 0;
  s.first = 0;
  s.bytes = 0;
  s.faulted = 0;
  nameCommand(d, s);
  return s;
}

export function freeSlot(d: VirtioBlk, s: Slot): void {
  s.state = SLOT_FREE;
  s.next = d.freeSlot;
  d.freeSlot = <u32>changetype<usize>(s);
}

/** A queue has used buffers, and its driver wants to know. */
export function interruptQueue(d: VirtioBlk, q: Queue): void {
  interrupt(d, q.vector, VIRTIO_ISR_QUEUE);
}

/**
 * The device's configuration or its need of a reset changed. The line tells drivers to look at the queues, too:
 * that is no harm ([1] 4.1.5.4), and some wait for that bit alone.
 */
export function interruptConfig(d: VirtioBlk): void {
  interrupt(d, d.configVector, VIRTIO_ISR_CONFIG | VIRTIO_ISR_QUEUE);
}

/** [1] 4.1.5.3: a message, or bits of the ISR status and the line. */
function interrupt(d: VirtioBlk, vector: u32, bits: u32): void {
  if (msixEnabled(functionOf(d))) {
    if (vector != VIRTIO_NO_VECTOR) sendMsix(d, vector);
    return;
  }
  d.isr |= bits;
  setLine(d, true);
}

/** The driver made a mistake that no status can tell ([1] 2.1.2): nothing moves until it resets the device. */
export function needReset(d: VirtioBlk): void {
  if ((d.status & VIRTIO_NEEDS_RESET) != 0) return;
  d.status |= VIRTIO_NEEDS_RESET;
  dropAll(d);
  if ((d.status & VIRTIO_DRIVER_OK) != 0) interruptConfig(d);
}

/** Gives up every request, and what is due because of them. */
export function dropAll(d: VirtioBlk): void {
  for (let i: u32 = 0; i < d.queueCount; i++) dropQueue(d, queueAt(d, i));
  cancel(d, EVENT_RETRY, 0);
  d.retrying = 0;
}

export function dropQueue(d: VirtioBlk, q: Queue): void {
  for (let i: u32 = 0; i < d.slotCount; i++) {
    const s = slotAt(d, i);
    if (s.state == SLOT_FREE || s.queue != q.index) continue;
    if (s.request != 0) dropRequest(changetype<Request>(<usize>s.request));
    freeSlot(d, s);
  }
  if (q.due != 0) cancel(d, EVENT_USED, q.index);
  q.due = 0;
  q.pending = 0;
  q.stalled = 0;
}

/** A queue as it is after a reset. */
export function resetQueue(d: VirtioBlk, q: Queue): void {
  q.size = d.queueMax;
  q.enabled = 0;
  q.vector = VIRTIO_NO_VECTOR;
  q.frame = 0;
  q.desc = 0;
  q.driver = 0;
  q.device = 0;
  rewindQueue(q);
}

export function rewindQueue(q: Queue): void {
  q.next = 0;
  q.nextWrap = 1;
  q.used = 0;
  q.usedWrap = 1;
}
