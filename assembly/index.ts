// Every export of the module. 64-bit numbers cross as two 32-bit halves, times as f64 (exact below 2^53 ns).
import { initArena, reserve as reserveArena, resetRequests as resetMediaRequests } from './bus/arena';
import { now as clockNow, dropHead, headCode, headDevice, headTag, nextDue, setNow } from './bus/clock';
import { EVENT_BUS, RUN_BUDGET, RUN_IRQ, RUN_MEDIA, RUN_PARKED, RUN_TIME } from './bus/codes';
import { deviceAt } from './bus/device';
import { nextNonZero as findNonZero } from './bus/dirty';
import { copyWritten, setWritten } from './bus/guard';
import {
  enableGuard as guardEnable,
  guardHasWritten as hasWritten,
  guardMap as mapGuard,
  guardStale as setStale,
  guardUnmap as unmapGuard,
} from './bus/guard-map';
import { takeMessage as takeIrqMessage } from './bus/irq';
import { AT_DEVICE_COUNT, AT_DEVICES, AT_IRQ_CHANGES, AT_RUN_BROKE_OFF, AT_RUN_CHANGES } from './bus/layout';
import { addExternal as addExternalRegion, addRam as addRamRegion } from './bus/ram';
import {
  attach,
  blockBytes as bytesOfBlock,
  create,
  deliver,
  read,
  readConfig,
  reset,
  resized,
  write,
  writeConfig,
} from './dispatch';
import { PARKED_HOLD } from './media/codes';
import {
  forgetChange,
  loadMedium,
  moveTray as move,
  createDrive as newDrive,
  pressEject,
  unloadMedium,
} from './media/drive';
import {
  Disk,
  hostFail,
  hostReady,
  createDisk as newDisk,
  Request,
  resizeDisk as resize,
  waitsForHost,
} from './media/media';
import { parkDue, releaseHeld, retryParked } from './media/park';

/** Lays an empty machine into a memory of `bytes` bytes. Returns 0 when it is too small. */
export function init(bytes: u32): u32 {
  return initArena(bytes) ? 1 : 0;
}

/** Reserves zeroed bytes of the module's memory for the host; 0 when used up. */
export function reserve(bytes: u32, align: u32): u32 {
  return reserveArena(bytes, align);
}

/** Adds `bytes` bytes of RAM at a physical address; the offset of the first in the module's memory, 0 if refused. */
export function addRam(low: u32, high: u32, bytes: u32): u32 {
  return addRamRegion(wide(low, high), bytes);
}

/** As addRam(), for RAM that the host has: memoryRead() and its like are called for it. Returns 0 if refused. */
export function addExternal(low: u32, high: u32, bytes: u32): u32 {
  return addExternalRegion(wide(low, high), bytes) ? 1 : 0;
}

export function createController(kind: u32, line: u32): u32 {
  const offset = create(kind, line);
  return offset;
}

export function resetController(device: u32, kind: u32): void {
  reset(deviceAt(device), kind);
}

export function createDisk(kind: u32, sectorsLow: u32, sectorsHigh: u32, sectorShift: u32): u32 {
  return newDisk(kind, wide(sectorsLow, sectorsHigh), sectorShift);
}

/** Gives a disk another size and tells its controllers; 0 when there is no memory for it. */
export function resizeDisk(disk: u32, sectorsLow: u32, sectorsHigh: u32): u32 {
  if (!resize(changetype<Disk>(<usize>disk), wide(sectorsLow, sectorsHigh))) return 0;
  const devices = load<u32>(AT_DEVICE_COUNT);
  for (let i: u32 = 0; i < devices; i++) resized(deviceAt(load<u32>(AT_DEVICES + (i << 2))), disk);
  return 1;
}

/** An optical drive without a medium; 0 when refused. */
export function createDrive(): u32 {
  return newDrive();
}

/**
 * Lays a medium of `kind` into a drive, in place of the one that is there; 0 sectors: only takes that out. 0 when
 * refused.
 */
export function changeMedium(disk: u32, kind: u32, sectorsLow: u32, sectorsHigh: u32): u32 {
  const drive = changetype<Disk>(<usize>disk);
  const sectors = wide(sectorsLow, sectorsHigh);
  if (sectors != 0) return loadMedium(drive, kind, sectors) ? 1 : 0;
  unloadMedium(drive);
  return 1;
}

/** The medium that was in the drive from the first: software need not be told of it. */
export function settleDrive(disk: u32): void {
  forgetChange(changetype<Disk>(<usize>disk));
}

/** Closes (0) or opens the tray as a button does (1), or opens it though it is locked (2); 0 when it is locked. */
export function moveTray(disk: u32, how: u32): u32 {
  const drive = changetype<Disk>(<usize>disk);
  if (how == 1) return pressEject(drive) ? 1 : 0;
  move(drive, how != 0);
  return 1;
}

/** Has requests go on that were parked for an error, on all disks. */
export function retryRequests(): void {
  retryParked();
}

/** Has requests go on that the fault plan holds for disk number `disk` under the number `tag`, below 2^53. */
export function releaseRequests(disk: u32, tag: f64): void {
  releaseHeld(disk, <u64>tag);
}

/** `disk` is what createDisk() or createDrive() returned, 0 to take the disk away. */
export function attachDisk(device: u32, place: u32, unit: u32, disk: u32): u32 {
  return attach(deviceAt(device), place, unit, disk) ? 1 : 0;
}

export function barRead(device: u32, bar: u32, at: u32, size: u32): u32 {
  return read(deviceAt(device), bar, at, size);
}

export function barWrite(device: u32, bar: u32, at: u32, size: u32, value: u32): void {
  write(deviceAt(device), bar, at, size, value);
}

export function pciRead(device: u32, at: u32, size: u32): u32 {
  return readConfig(deviceAt(device), at, size);
}

export function pciWrite(device: u32, at: u32, size: u32, value: u32): void {
  writeConfig(deviceAt(device), at, size, value);
}

export function now(): f64 {
  return <f64>clockNow();
}

/**
 * Runs the hardware up to virtual time `until` ns, or until an interrupt changes (after everything that is
 * due at that moment), or a medium has to wait for the host or failed it, or `budget` events were delivered. RUN_*. An
 * interrupt that changed before it broke off for the host or the budget still counts in the next call.
 */
export function run(until: f64, budget: u32): u32 {
  const limit: u64 = until >= 9007199254740992.0 ? 9007199254740992 : <u64>until;
  if (load<u32>(AT_RUN_BROKE_OFF) == 0) store<u32>(AT_RUN_CHANGES, load<u32>(AT_IRQ_CHANGES));
  store<u32>(AT_RUN_BROKE_OFF, 0);
  while (true) {
    const due = nextDue();
    if (due > clockNow() && load<u32>(AT_IRQ_CHANGES) != load<u32>(AT_RUN_CHANGES)) return RUN_IRQ;
    if (due > limit) {
      if (limit > clockNow()) setNow(limit);
      return RUN_TIME;
    }
    if (due > clockNow()) setNow(due);
    const tag = headTag();
    const code = headCode();
    const isMedia = code >= <u32>EVENT_BUS;
    if (isMedia && waitsForHost(changetype<Request>(<usize>tag))) return breakOff(RUN_MEDIA);
    if (budget-- == 0) return breakOff(RUN_BUDGET);
    const device = headDevice();
    dropHead();
    if (isMedia) {
      const parked = parkDue(changetype<Request>(<usize>tag), code);
      if (parked == <u32>PARKED_HOLD) continue;
      if (parked != 0) return breakOff(RUN_PARKED);
    }
    deliver(deviceAt(device), code, tag);
  }
}

function breakOff(why: u32): u32 {
  store<u32>(AT_RUN_BROKE_OFF, 1);
  return why;
}

/** Lowest pending message-signalled vector, taken off the list; −1: none. */
export function takeMessage(): i32 {
  return takeIrqMessage();
}

/** The host did what mediaStart() or mediaFinish() left open. `request` is the handle that they had. */
export function mediaReady(request: u32): void {
  hostReady(request);
}

/** The medium failed at byte `failedAt` of the request; `status` is MEDIA_ERROR or what else hinders it. */
export function mediaFail(request: u32, status: u32, failedAt: f64): void {
  hostFail(request, status, <u64>failedAt);
}

export function enableGuard(flags: u32, mappings: u32): u32 {
  return guardEnable(flags, mappings) ? 1 : 0;
}

export function guardMap(device: u32, low: u32, high: u32, bytes: u32, direction: u32, handle: u32): u32 {
  return mapGuard(device, wide(low, high), bytes, direction, handle);
}

export function guardUnmap(slot: u32): u32 {
  return unmapGuard(slot) ? 1 : 0;
}

/** Whether the device has written through a mapping. */
export function guardHasWritten(slot: u32): u32 {
  return hasWritten(slot) ? 1 : 0;
}

/** Says which bytes of a mapping the CPU has written without a sync for the device; `to` of 0: none. */
export function guardStale(slot: u32, from: u32, to: u32): void {
  setStale(slot, from, to);
}

/** Says of `bytes` bytes of RAM, from the `index`th byte of all RAM on, whether they were ever written. */
export function guardWritten(index: u32, bytes: u32, written: u32): void {
  setWritten(index, bytes, written != 0);
}

/** Says that the CPU copied `bytes` bytes of RAM from the `from`th byte of all RAM to the `to`th. */
export function guardCopied(to: u32, from: u32, bytes: u32): void {
  copyWritten(to, from, bytes);
}

// For snapshots.

/** Bytes of the class that a block of the arena begins with: KIND_* or BLOCK_*. 0: there is none. */
export function blockBytes(block: u32): u32 {
  return bytesOfBlock(block);
}

/** Offset of the first page from `from` on, both and `to` multiples of 4096, that does not hold zeroes alone. */
export function nextNonZero(from: u32, to: u32): u32 {
  return findNonZero(from, to);
}

/** Makes media requests that a snapshot does not know what they were before their first use. */
export function resetRequests(from: u32, to: u32): void {
  resetMediaRequests(from, to);
}

function wide(low: u32, high: u32): u64 {
  return ((<u64>high) << 32) | low;
}
