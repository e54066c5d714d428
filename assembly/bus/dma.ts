// The DMA port: the one door through which a device reaches memory. It drives no more address lines than the
// board has, finds the RAM or on-chip memory behind each address, asks the guard, counts, and moves the bytes. Where the
// RAM is the host's, it asks the host to.
//
// Two ways through it: dmaFetch() and dmaStore() for descriptors and status, which are small and whose bytes
// the model looks at; and the mover (mover.ts), which collects a command's data segments with dmaRuns().

import { memoryRead, memoryWrite } from '../host';
import { DMA_HOLE, DMA_NO_MASTER, DMA_OK, DMA_READ, DMA_REGISTERS, DMA_WRITE } from './codes';
import { Device, deviceAt } from './device';
import { markDirty } from './dirty';
import { guardAccess, guardHole, guardNoMaster, guardRegisters, guardSent, guardWindow } from './guard';
import {
  AT_DEVICE_COUNT,
  AT_DEVICES,
  AT_GUARD_FLAGS,
  AT_MOVE_EXTERNAL,
  AT_MOVE_FAULT,
  AT_MOVE_RUNS,
  AT_NOWHERE,
  AT_ONES,
  AT_RUN_ADDRESSES,
  AT_RUNS,
  AT_TRACE_MASK,
  PAGE_BYTES,
  RAM_BYTES,
  RAM_OFFSET,
  RAM_START,
  RUN_MAX,
  RUN_STRIDE,
} from './layout';
import { memoryBarAt, untilBarEdge } from './pci';
import { findRam, nextRam } from './ram';
import { trace } from './trace';
import { TRACE_DMA } from './trace-codes';
import { untilWindowEdge, windowAt } from './window';

/** Descriptors and status are seldom longer. */
const SHORT_BYTES: u32 = 128;

/**
 * Copies `bytes` bytes at `address` into module memory at `to`. Where no memory is, ones are read. Returns
 * DMA_OK, or what was wrong with the first byte that did not come from memory.
 */
export function dmaFetch(d: Device, address: u64, to: usize, bytes: u32): u32 {
  const from = plainRun(d, address, bytes);
  if (from == 0) return fetchAny(d, address, to, bytes);
  d.dmaReads++;
  d.dmaReadBytes += bytes;
  copyShort(to, from, bytes);
  return DMA_OK;
}

function fetchAny(d: Device, address: u64, to: usize, bytes: u32): u32 {
  count(d, address, bytes, DMA_READ);
  if (d.master == 0) return refuse(d, address, bytes, DMA_READ, to);
  let failed: u32 = DMA_OK;
  while (bytes > 0) {
    const driven = address & d.lines;
    const region = findRam(driven);
    let n: u32;
    if (region != 0) {
      n = runLength(d, driven, region, bytes);
      if (load<u32>(AT_GUARD_FLAGS) != 0) guardAccess(d, address, driven, region, n, DMA_READ);
      if (isExternal(region)) memoryRead(<u32>driven, <u32>(driven >> 32), <u32>to, n);
      else memory.copy(to, inRegion(region, driven), n);
    } else {
      n = lengthOutside(d, driven, bytes);
      const window = windowAt(d, driven, DMA_READ);
      if (window != 0) {
        guardWindow(d, address, driven, n, DMA_READ);
        memory.copy(to, window, n);
      } else {
        const why = miss(d, address, driven, n, DMA_READ);
        if (failed == DMA_OK) failed = why;
        memory.fill(to, 0xff, n);
      }
    }
    address += n;
    to += n;
    bytes -= n;
  }
  if (failed != DMA_OK) d.dmaFaults++;
  return failed;
}

/**
 * Copies `bytes` bytes of module memory at `from` to `address`. What falls where no RAM is, is dropped.
 * Returns as dmaFetch() does.
 */
export function dmaStore(d: Device, address: u64, from: usize, bytes: u32): u32 {
  const to = plainRun(d, address, bytes);
  if (to == 0) return storeAny(d, address, from, bytes);
  d.dmaWrites++;
  d.dmaWriteBytes += bytes;
  if (bytes > 0) markDirty(to, bytes);
  copyShort(to, from, bytes);
  return DMA_OK;
}

function storeAny(d: Device, address: u64, from: usize, bytes: u32): u32 {
  count(d, address, bytes, DMA_WRITE);
  if (d.master == 0) return refuse(d, address, bytes, DMA_WRITE, 0);
  let failed: u32 = DMA_OK;
  while (bytes > 0) {
    const driven = address & d.lines;
    const region = findRam(driven);
    let n: u32;
    if (region != 0) {
      n = runLength(d, driven, region, bytes);
      if (load<u32>(AT_GUARD_FLAGS) != 0) guardAccess(d, address, driven, region, n, DMA_WRITE);
      if (isExternal(region)) memoryWrite(<u32>driven, <u32>(driven >> 32), <u32>from, n);
      else {
        markDirty(inRegion(region, driven), n);
        memory.copy(inRegion(region, driven), from, n);
      }
    } else {
      n = lengthOutside(d, driven, bytes);
      const window = windowAt(d, driven, DMA_WRITE);
      if (window != 0) {
        guardWindow(d, address, driven, n, DMA_WRITE);
        markDirty(window, n);
        memory.copy(window, from, n);
      } else {
        const why = miss(d, address, driven, n, DMA_WRITE);
        if (failed == DMA_OK) failed = why;
      }
    }
    address += n;
    from += n;
    bytes -= n;
  }
  if (failed != DMA_OK) d.dmaFaults++;
  return failed;
}

/**
 * Appends the module memory behind `bytes` bytes at `address` to the run list of AT_MOVE_RUNS entries; a run
 * that continues the last one lengthens it. Holes become runs over a page of ones (device reads) or over a
 * page that nobody reads (device writes), and leave their DMA_* code in AT_MOVE_FAULT if it held none.
 * Returns how many bytes found room: fewer than asked when the list is full.
 */
export function dmaRuns(d: Device, address: u64, bytes: u32, direction: u32): u32 {
  let left = bytes;
  let at = address;
  while (left > 0) {
    const driven = at & d.lines;
    const region = d.master == 0 ? 0 : findRam(driven);
    let n: u32;
    if (region != 0) {
      n = runLength(d, driven, region, left);
      if (isExternal(region)) {
        if (!appendExternal(driven, n, driven == load<u64>(region + RAM_START))) break;
      } else {
        if (!appendRun(inRegion(region, driven), n)) break;
        if (direction == DMA_WRITE) markDirty(inRegion(region, driven), n);
      }
      if (load<u32>(AT_GUARD_FLAGS) != 0) {
        guardAccess(d, at, driven, region, n, direction);
        if (direction == DMA_READ) guardSent(d, at, driven, region, n);
      }
    } else {
      n = d.master == 0 ? left : lengthOutside(d, driven, left);
      const window = d.master == 0 ? 0 : windowAt(d, driven, direction);
      if (window == 0 && n > <u32>PAGE_BYTES) n = PAGE_BYTES;
      if (!appendRun(window != 0 ? window : direction == DMA_READ ? AT_ONES : AT_NOWHERE, n)) break;
      if (window == 0) fault(d, at, driven, n, direction);
      else {
        if (direction == DMA_WRITE) markDirty(window, n);
        guardWindow(d, at, driven, n, direction);
      }
    }
    at += n;
    left -= n;
  }
  if (left < bytes) count(d, address, bytes - left, direction);
  return bytes - left;
}

/**
 * Where `bytes` bytes at `address` are in module memory, if they are a few bytes in one region and nobody watches:
 * nearly every descriptor is. 0 otherwise: the long way, which comes to the same.
 */
function plainRun(d: Device, address: u64, bytes: u32): usize {
  if ((load<u32>(AT_GUARD_FLAGS) | load<u32>(AT_TRACE_MASK)) != 0 || d.master == 0) return 0;
  const driven = address & d.lines;
  if (bytes > SHORT_BYTES || d.lines - driven < <u64>bytes) return 0;
  const region = findRam(driven);
  if (region == 0 || isExternal(region)) return 0;
  const at = driven - load<u64>(region + RAM_START);
  if (at + bytes > <u64>load<u32>(region + RAM_BYTES)) return 0;
  return <usize>load<u32>(region + RAM_OFFSET) + <usize>at;
}

/** memory.copy() costs more than so few bytes. */
function copyShort(to: usize, from: usize, bytes: u32): void {
  const end = to + bytes;
  for (; to + 8 <= end; to += 8, from += 8) store<u64>(to, load<u64>(from));
  for (; to + 4 <= end; to += 4, from += 4) store<u32>(to, load<u32>(from));
  for (; to < end; to++, from++) store<u8>(to, load<u8>(from));
}

function fault(d: Device, address: u64, driven: u64, bytes: u32, direction: u32): void {
  let why: u32 = DMA_NO_MASTER;
  if (d.master == 0) guardNoMaster(d, address, bytes, direction);
  else why = miss(d, address, driven, bytes, direction);
  if (load<u32>(AT_MOVE_FAULT) == DMA_OK) store<u32>(AT_MOVE_FAULT, why);
  d.dmaFaults++;
}

/** Adds `bytes` bytes of module memory at `at` to the run list; false when it is full. */
export function appendRun(at: usize, bytes: u32): bool {
  const runs = load<u32>(AT_MOVE_RUNS);
  const next: usize = AT_RUNS + runs * RUN_STRIDE;
  if (runs > 0) {
    const last = next - RUN_STRIDE;
    const follows = <usize>load<u32>(last) + load<u32>(last, 4) == at && load<u32>(last) != 0;
    if (follows && at != AT_ONES && at != AT_NOWHERE) {
      store<u32>(last, load<u32>(last, 4) + bytes, 4);
      return true;
    }
  }
  if (runs == RUN_MAX) return false;
  store<u32>(next, <u32>at);
  store<u32>(next, bytes, 4);
  store<u32>(AT_MOVE_RUNS, runs + 1);
  return true;
}

/** As appendRun(), for `bytes` bytes at `driven` of memory that the host has. `first`: a region of it begins there. */
function appendExternal(driven: u64, bytes: u32, first: bool): bool {
  const runs = load<u32>(AT_MOVE_RUNS);
  const next: usize = AT_RUNS + runs * RUN_STRIDE;
  const address: usize = AT_RUN_ADDRESSES + (runs << 3);
  store<u32>(AT_MOVE_EXTERNAL, 1);
  if (runs > 0 && !first) {
    const last = next - RUN_STRIDE;
    if (load<u32>(last) == 0 && load<u64>(address - 8) + load<u32>(last, 4) == driven) {
      store<u32>(last, load<u32>(last, 4) + bytes, 4);
      return true;
    }
  }
  if (runs == RUN_MAX) return false;
  store<u32>(next, 0);
  store<u32>(next, bytes, 4);
  store<u64>(address, driven);
  store<u32>(AT_MOVE_RUNS, runs + 1);
  return true;
}

function isExternal(region: usize): bool {
  return load<u32>(region + RAM_OFFSET) == 0;
}

function inRegion(region: usize, driven: u64): usize {
  return load<u32>(region + RAM_OFFSET) + <usize>(driven - load<u64>(region + RAM_START));
}

/** Bytes from `driven` on that lie in the region and below the point where the address lines wrap. */
function runLength(d: Device, driven: u64, region: usize, bytes: u32): u32 {
  const left = load<u64>(region + RAM_START) + load<u32>(region + RAM_BYTES) - driven;
  return beforeWrap(d, driven, left < <u64>bytes ? <u32>left : bytes);
}

/** Bytes from `driven` on where no RAM is, all of them in one BAR or window or none, and below the wrap. */
function lengthOutside(d: Device, driven: u64, bytes: u32): u32 {
  let left = min(nextRam(driven) - driven, untilWindowEdge(d, driven));
  const devices = load<u32>(AT_DEVICE_COUNT);
  for (let i: u32 = 0; i < devices; i++) {
    left = min(left, untilBarEdge(deviceAt(load<u32>(AT_DEVICES + (i << 2))), driven));
  }
  return beforeWrap(d, driven, left < <u64>bytes ? <u32>left : bytes);
}

function beforeWrap(d: Device, driven: u64, bytes: u32): u32 {
  const left = d.lines - driven;
  return left < <u64>bytes - 1 ? <u32>left + 1 : bytes;
}

/** No memory at `driven`: registers of some device, or nothing at all. */
function miss(d: Device, address: u64, driven: u64, bytes: u32, direction: u32): u32 {
  const devices = load<u32>(AT_DEVICE_COUNT);
  for (let i: u32 = 0; i < devices; i++) {
    const other = deviceAt(load<u32>(AT_DEVICES + (i << 2)));
    if (memoryBarAt(other, driven) >= 0) {
      guardRegisters(d, address, driven, bytes, direction, other.id);
      return DMA_REGISTERS;
    }
  }
  guardHole(d, address, driven, bytes, direction);
  return DMA_HOLE;
}

function refuse(d: Device, address: u64, bytes: u32, direction: u32, to: usize): u32 {
  guardNoMaster(d, address, bytes, direction);
  if (to != 0) memory.fill(to, 0xff, bytes);
  d.dmaFaults++;
  return DMA_NO_MASTER;
}

function count(d: Device, address: u64, bytes: u32, direction: u32): void {
  if (direction == DMA_READ) {
    d.dmaReads++;
    d.dmaReadBytes += bytes;
  } else {
    d.dmaWrites++;
    d.dmaWriteBytes += bytes;
  }
  trace(TRACE_DMA, d.id, <u32>address, <u32>(address >> 32), bytes, direction);
}
