// A virtio block device on PCI: what assembly/dispatch.ts calls (references in state.ts).
import { reserve } from '../bus/arena';
import { KIND_VIRTIO_BLK } from '../bus/codes';
import { createDevice, functionOf, profileWord } from '../bus/device';
import { addMsix, msixRead, msixWrite } from '../bus/msix';
import {
  addBar,
  addCapability,
  addPowerManagement,
  createFunction,
  get8,
  get32,
  makeWritable,
  PciFunction,
  set8,
  set32,
} from '../bus/pci';
import { PCI_BAR_64, PCI_BAR_IO, PCI_CAP_VENDOR } from '../bus/pci-regs';
import { Request } from '../media/media';
import { usedDue } from './queue';
import { readLegacy, readModern, writeLegacy, writeModern } from './registers';
import {
  BLK_CONFIG_BYTES,
  BLK_RANGE_MAX,
  LEGACY_ISR,
  LEGACY_QUEUE_NOTIFY,
  PROFILE_ACCESS_PLATFORM,
  PROFILE_DISCARD_SECTORS,
  PROFILE_EVENT_IDX,
  PROFILE_FLUSH,
  PROFILE_INDIRECT,
  PROFILE_MULTIPLIER,
  PROFILE_PACKED,
  PROFILE_PORTS,
  PROFILE_QUEUE_SIZE,
  PROFILE_QUEUES,
  PROFILE_RANGES,
  PROFILE_SEG_MAX,
  PROFILE_SIZE_MAX,
  PROFILE_TRANSITIONAL,
  PROFILE_VECTORS,
  PROFILE_ZEROES_SECTORS,
  VIRTIO_AT_COMMON,
  VIRTIO_AT_CONFIG,
  VIRTIO_AT_ISR,
  VIRTIO_AT_NOTIFY,
  VIRTIO_BAR_LEGACY,
  VIRTIO_BAR_MODERN,
  VIRTIO_BAR_MSIX,
  VIRTIO_BLK_CLASS,
  VIRTIO_BLK_F_BLK_SIZE,
  VIRTIO_BLK_F_CONFIG_WCE,
  VIRTIO_BLK_F_DISCARD,
  VIRTIO_BLK_F_FLUSH,
  VIRTIO_BLK_F_GEOMETRY,
  VIRTIO_BLK_F_MQ,
  VIRTIO_BLK_F_SEG_MAX,
  VIRTIO_BLK_F_SIZE_MAX,
  VIRTIO_BLK_F_TOPOLOGY,
  VIRTIO_BLK_F_WRITE_ZEROES,
  VIRTIO_CAP_AT_COMMON,
  VIRTIO_CAP_AT_CONFIG,
  VIRTIO_CAP_AT_ISR,
  VIRTIO_CAP_AT_MSIX,
  VIRTIO_CAP_AT_NOTIFY,
  VIRTIO_CAP_AT_PM,
  VIRTIO_CAP_AT_WINDOW,
  VIRTIO_CAP_BAR,
  VIRTIO_CAP_BYTES,
  VIRTIO_CAP_COMMON,
  VIRTIO_CAP_DEVICE,
  VIRTIO_CAP_EXTRA,
  VIRTIO_CAP_ISR,
  VIRTIO_CAP_LENGTH,
  VIRTIO_CAP_NOTIFY,
  VIRTIO_CAP_OFFSET,
  VIRTIO_CAP_TYPE,
  VIRTIO_CAP_WINDOW,
  VIRTIO_COMMON_BYTES,
  VIRTIO_DRIVER_OK,
  VIRTIO_F_ACCESS_PLATFORM,
  VIRTIO_F_EVENT_IDX,
  VIRTIO_F_INDIRECT_DESC,
  VIRTIO_F_RING_PACKED,
  VIRTIO_F_VERSION_1,
  VIRTIO_LEGACY_BYTES,
  VIRTIO_MODERN_BYTES,
  VIRTIO_MSIX_BYTES,
  VIRTIO_MSIX_PBA,
  VIRTIO_QUEUE_SIZE_MAX,
  VIRTIO_QUEUES_MAX,
  VIRTIO_SEGMENTS_MAX,
} from './regs';
import { failAll, mediaDone as mediaEnds, mediaData as mediaMoves, retryWaiting } from './request';
import { resetAll } from './reset';
import {
  checkLayout,
  EVENT_USED,
  freeSlot,
  interruptConfig,
  queueAt,
  queueBytes,
  SCRATCH,
  SLOT_MAX,
  slotAt,
  slotBytes,
  VirtioBlk,
} from './state';

export { VirtioBlk } from './state';

const SMALL_CAPABILITY: u32 = 16;
const LARGE_CAPABILITY: u32 = 20;
/** A queue's notification register. */
const NOTIFY_BYTES: u32 = 4;
const PORT_BYTES: u32 = 2;
/** Header and status. */
const OWN_SEGMENTS: u32 = 2;

/** Creates the device that the profile in the scratch area describes; 0 when there is no room. */
export function create(line: u32): u32 {
  checkLayout();
  const device = createDevice(KIND_VIRTIO_BLK, offsetof<VirtioBlk>() + SCRATCH, line);
  if (device === null) return 0;
  const d = changetype<VirtioBlk>(device);
  claim(d);
  if (!makeQueues(d)) return 0;
  const f = createFunction(d, VIRTIO_BLK_CLASS);
  if (f === null || !configure(d, f)) return 0;
  resetAll(d);
  return <u32>changetype<usize>(d);
}

function claim(d: VirtioBlk): void {
  d.transitional = profileWord(PROFILE_TRANSITIONAL);
  d.queueCount = within(PROFILE_QUEUES, 1, VIRTIO_QUEUES_MAX);
  d.queueMax = within(PROFILE_QUEUE_SIZE, 2, VIRTIO_QUEUE_SIZE_MAX);
  // Split queues are a power of two.
  while ((d.queueMax & (d.queueMax - 1)) != 0) d.queueMax &= d.queueMax - 1;
  d.segMax = within(PROFILE_SEG_MAX, 0, VIRTIO_SEGMENTS_MAX);
  d.sizeMax = profileWord(PROFILE_SIZE_MAX);
  d.chainMax = max(d.queueMax, d.segMax + OWN_SEGMENTS);
  d.multiplier = atPorts(d) ? 0 : flag(PROFILE_MULTIPLIER, NOTIFY_BYTES);
  d.discardSectors = profileWord(PROFILE_DISCARD_SECTORS);
  d.zeroesSectors = profileWord(PROFILE_ZEROES_SECTORS);
  d.ranges = within(PROFILE_RANGES, 1, BLK_RANGE_MAX);
  d.offered = VIRTIO_BLK_F_GEOMETRY | VIRTIO_BLK_F_BLK_SIZE | VIRTIO_BLK_F_TOPOLOGY;
  d.offered |= d.segMax != 0 ? VIRTIO_BLK_F_SEG_MAX : 0;
  d.offered |= d.sizeMax != 0 ? VIRTIO_BLK_F_SIZE_MAX : 0;
  d.offered |= d.queueCount > 1 ? VIRTIO_BLK_F_MQ : 0;
  d.offered |= d.discardSectors != 0 ? VIRTIO_BLK_F_DISCARD : 0;
  d.offered |= d.zeroesSectors != 0 ? VIRTIO_BLK_F_WRITE_ZEROES : 0;
  d.offered |= flag(PROFILE_FLUSH, VIRTIO_BLK_F_FLUSH | VIRTIO_BLK_F_CONFIG_WCE);
  d.offered |= flag(PROFILE_INDIRECT, VIRTIO_F_INDIRECT_DESC) | flag(PROFILE_EVENT_IDX, VIRTIO_F_EVENT_IDX);
  d.offeredHigh = VIRTIO_F_VERSION_1 | flag(PROFILE_PACKED, VIRTIO_F_RING_PACKED);
  d.offeredHigh |= flag(PROFILE_ACCESS_PLATFORM, VIRTIO_F_ACCESS_PLATFORM);
}

function flag(word: u32, bits: u32): u32 {
  return profileWord(word) != 0 ? bits : 0;
}

function within(word: u32, low: u32, high: u32): u32 {
  return max(low, min(profileWord(word), high));
}

function makeQueues(d: VirtioBlk): bool {
  d.queueStride = queueBytes(d.queueMax);
  d.queues = reserve(d.queueCount * d.queueStride, 16);
  d.slotCount = min(d.queueCount * d.queueMax, SLOT_MAX);
  d.slotStride = slotBytes(d.chainMax);
  d.slots = reserve(d.slotCount * d.slotStride, 16);
  if (d.queues == 0 || d.slots == 0) return false;
  for (let i: u32 = 0; i < d.queueCount; i++) queueAt(d, i).index = i;
  for (let i: u32 = d.slotCount; i > 0; i--) freeSlot(d, slotAt(d, i - 1));
  return true;
}

function configure(d: VirtioBlk, f: PciFunction): bool {
  const vectors = profileWord(PROFILE_VECTORS);
  if (d.transitional != 0) addBar(f, VIRTIO_BAR_LEGACY, VIRTIO_LEGACY_BYTES, PCI_BAR_IO);
  addBar(f, VIRTIO_BAR_MODERN, VIRTIO_MODERN_BYTES, PCI_BAR_64);
  structure(
    f,
    VIRTIO_CAP_AT_COMMON,
    VIRTIO_CAP_COMMON,
    VIRTIO_AT_COMMON,
    VIRTIO_COMMON_BYTES,
    SMALL_CAPABILITY,
  );
  structure(f, VIRTIO_CAP_AT_ISR, VIRTIO_CAP_ISR, VIRTIO_AT_ISR, 1, SMALL_CAPABILITY);
  structure(f, VIRTIO_CAP_AT_CONFIG, VIRTIO_CAP_DEVICE, VIRTIO_AT_CONFIG, BLK_CONFIG_BYTES, SMALL_CAPABILITY);
  const notify = max(NOTIFY_BYTES, d.queueCount * d.multiplier);
  structure(f, VIRTIO_CAP_AT_NOTIFY, VIRTIO_CAP_NOTIFY, VIRTIO_AT_NOTIFY, notify, LARGE_CAPABILITY);
  set32(f, VIRTIO_CAP_AT_NOTIFY + VIRTIO_CAP_EXTRA, d.multiplier);
  structure(f, VIRTIO_CAP_AT_WINDOW, VIRTIO_CAP_WINDOW, 0, 0, LARGE_CAPABILITY);
  makeWritable(f, VIRTIO_CAP_AT_WINDOW + VIRTIO_CAP_BAR, 0xff);
  for (let i: u32 = VIRTIO_CAP_OFFSET; i < LARGE_CAPABILITY; i++)
    makeWritable(f, VIRTIO_CAP_AT_WINDOW + i, 0xff);
  if (atPorts(d)) {
    move(f, VIRTIO_CAP_AT_ISR, LEGACY_ISR);
    move(f, VIRTIO_CAP_AT_NOTIFY, LEGACY_QUEUE_NOTIFY);
    set32(f, VIRTIO_CAP_AT_NOTIFY + VIRTIO_CAP_BYTES, PORT_BYTES);
  }
  addPowerManagement(f, VIRTIO_CAP_AT_PM, false);
  if (vectors == 0) return true;
  addBar(f, VIRTIO_BAR_MSIX, VIRTIO_MSIX_BYTES, 0);
  return addMsix(f, VIRTIO_CAP_AT_MSIX, vectors, VIRTIO_BAR_MSIX, 0, VIRTIO_MSIX_PBA);
}

/** A capability that says where a structure is ([1] 4.1.4). */
function structure(f: PciFunction, at: u32, type: u32, offset: u32, bytes: u32, length: u32): void {
  addCapability(f, PCI_CAP_VENDOR, at, length);
  set8(f, at + VIRTIO_CAP_LENGTH, length);
  set8(f, at + VIRTIO_CAP_TYPE, type);
  set8(f, at + VIRTIO_CAP_BAR, type == <u32>VIRTIO_CAP_WINDOW ? 0 : VIRTIO_BAR_MODERN);
  set32(f, at + VIRTIO_CAP_OFFSET, offset);
  set32(f, at + VIRTIO_CAP_BYTES, bytes);
}

/**
 * Whether a modern driver, too, notifies and asks for the interrupt's cause at the legacy ports ([1] 4.1.4: a structure
 * may lie in I/O space), which mean the same there: a queue's number is written, reading acknowledges. For machines in
 * which a port costs less than an address.
 */
function atPorts(d: VirtioBlk): bool {
  return d.transitional != 0 && profileWord(PROFILE_PORTS) != 0;
}

/** Has a structure lie at a port. */
function move(f: PciFunction, at: u32, port: u32): void {
  set8(f, at + VIRTIO_CAP_BAR, VIRTIO_BAR_LEGACY);
  set32(f, at + VIRTIO_CAP_OFFSET, port);
}

/** The one place for a disk. Another disk, or none, is a change of the configuration while the driver works. */
export function attach(d: VirtioBlk, place: u32, unit: u32, disk: u32): bool {
  if (place != 0 || unit != 0) return false;
  failAll(d);
  d.disk = disk;
  configChanged(d);
  return true;
}

/** Another capacity is a change of the configuration, too. */
export function resized(d: VirtioBlk, disk: u32): void {
  if (d.disk == disk) configChanged(d);
}

/** The generation goes on at any time: a driver may be in the middle of reading the capacity ([1] 2.5.1). */
function configChanged(d: VirtioBlk): void {
  d.generation++;
  if ((d.status & VIRTIO_DRIVER_OK) != 0) interruptConfig(d);
}

export function read(d: VirtioBlk, bar: u32, at: u32, size: u32): u32 {
  switch (bar) {
    case VIRTIO_BAR_MODERN:
      return readModern(d, at, size);
    case VIRTIO_BAR_LEGACY:
      return d.transitional != 0 ? readLegacy(d, at, size) : u32.MAX_VALUE;
    case VIRTIO_BAR_MSIX:
      return msixRead(d, at, size);
    default:
      return u32.MAX_VALUE;
  }
}

export function write(d: VirtioBlk, bar: u32, at: u32, size: u32, value: u32): void {
  if (bar == <u32>VIRTIO_BAR_MODERN) writeModern(d, at, size, value);
  else if (bar == <u32>VIRTIO_BAR_MSIX) msixWrite(d, at, size, value);
  else if (bar == <u32>VIRTIO_BAR_LEGACY && d.transitional != 0) writeLegacy(d, at, size, value);
}

// The window ([1] 4.1.4.9): registers without memory decoding, through configuration space.

/** Before a configuration read: what the window shows is brought up to date. */
export function beforeConfigRead(d: VirtioBlk, at: u32, size: u32): void {
  const f = functionOf(d);
  const bytes = windowBytes(d, f, at, size);
  if (bytes == 0) return;
  const from = get32(f, VIRTIO_CAP_AT_WINDOW + VIRTIO_CAP_OFFSET);
  const bar = get8(f, VIRTIO_CAP_AT_WINDOW + VIRTIO_CAP_BAR);
  set32(f, VIRTIO_CAP_AT_WINDOW + VIRTIO_CAP_EXTRA, read(d, bar, from, bytes));
}

/** After a configuration write: what was put into the window goes to the register. */
export function afterConfigWrite(d: VirtioBlk, at: u32, size: u32): void {
  const f = functionOf(d);
  const bytes = windowBytes(d, f, at, size);
  if (bytes == 0) return;
  const to = get32(f, VIRTIO_CAP_AT_WINDOW + VIRTIO_CAP_OFFSET);
  const value = get32(f, VIRTIO_CAP_AT_WINDOW + VIRTIO_CAP_EXTRA);
  const bar = get8(f, VIRTIO_CAP_AT_WINDOW + VIRTIO_CAP_BAR);
  write(d, bar, to, bytes, bytes == 4 ? value : value & (((<u32>1) << (bytes << 3)) - 1));
}

/** Bytes of the register that an access to configuration space means, 0: none. */
function windowBytes(d: VirtioBlk, f: PciFunction, at: u32, size: u32): u32 {
  const data: u32 = VIRTIO_CAP_AT_WINDOW + VIRTIO_CAP_EXTRA;
  if (at >= data + 4 || at + size <= data) return 0;
  const bytes = get32(f, VIRTIO_CAP_AT_WINDOW + VIRTIO_CAP_BYTES);
  const offset = get32(f, VIRTIO_CAP_AT_WINDOW + VIRTIO_CAP_OFFSET);
  const bar: u32 = get8(f, VIRTIO_CAP_AT_WINDOW + VIRTIO_CAP_BAR);
  if (bytes != 1 && bytes != 2 && bytes != 4) return 0;
  return offset % bytes == 0 && offset < windowEnd(d, bar) ? bytes : 0;
}

/** Bytes of a BAR that the window can show. */
function windowEnd(d: VirtioBlk, bar: u32): u32 {
  if (bar == <u32>VIRTIO_BAR_MODERN) return VIRTIO_MODERN_BYTES;
  return bar == <u32>VIRTIO_BAR_LEGACY && d.transitional != 0 ? VIRTIO_LEGACY_BYTES : 0;
}

export function event(d: VirtioBlk, code: u32, tag: u32): void {
  if (code == EVENT_USED) usedDue(d, queueAt(d, tag));
  else retryWaiting(d);
}

export function mediaData(d: VirtioBlk, r: Request): void {
  mediaMoves(d, r);
}

export function mediaDone(d: VirtioBlk, r: Request): void {
  mediaEnds(d, r);
}

export function reset(d: VirtioBlk, kind: u32): void {
  resetAll(d);
}
