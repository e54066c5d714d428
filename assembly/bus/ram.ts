// Sparse physical memory: a short sorted list of regions of a 64-bit address space, each backed by a run of
// the module's own memory, or by memory that the host has (an emulator whose RAM it is).
import { reserveTracked } from './arena';
import {
  AT_RAM,
  AT_RAM_COUNT,
  AT_RAM_PAGES,
  PAGE_BYTES,
  PAGE_SHIFT,
  RAM_BYTES,
  RAM_FIRST_PAGE,
  RAM_MAX,
  RAM_OFFSET,
  RAM_START,
  RAM_STRIDE,
} from './layout';

/**
 * Adds a region of RAM behind the ones that exist. `start` and `bytes` are multiples of the page, regions
 * come in ascending order and do not touch. Returns the offset of its first byte, 0 if refused.
 */
export function addRam(start: u64, bytes: u32): u32 {
  if (!fits(start, bytes)) return 0;
  const offset = reserveTracked(bytes, PAGE_BYTES);
  if (offset != 0) enter(start, bytes, offset);
  return offset;
}

/** As addRam(), for memory that the host has: it is asked for the bytes (host.ts). False if refused. */
export function addExternal(start: u64, bytes: u32): bool {
  if (!fits(start, bytes)) return false;
  enter(start, bytes, 0);
  return true;
}

function fits(start: u64, bytes: u32): bool {
  const count = load<u32>(AT_RAM_COUNT);
  if (count == RAM_MAX || bytes == 0) return false;
  if (((start | <u64>bytes) & (PAGE_BYTES - 1)) != 0) return false;
  if (start + bytes < start) return false;
  if (count == 0) return true;
  const last = region(count - 1);
  return load<u64>(last + RAM_START) + load<u32>(last + RAM_BYTES) <= start;
}

function enter(start: u64, bytes: u32, offset: u32): void {
  const count = load<u32>(AT_RAM_COUNT);
  const entry = region(count);
  store<u64>(entry + RAM_START, start);
  store<u32>(entry + RAM_BYTES, bytes);
  store<u32>(entry + RAM_OFFSET, offset);
  store<u32>(entry + RAM_FIRST_PAGE, load<u32>(AT_RAM_PAGES));
  store<u32>(AT_RAM_PAGES, load<u32>(AT_RAM_PAGES) + (bytes >>> PAGE_SHIFT));
  store<u32>(AT_RAM_COUNT, count + 1);
}

/** The region that holds `address`, 0 where no RAM is. */
export function findRam(address: u64): usize {
  const count = load<u32>(AT_RAM_COUNT);
  for (let i: u32 = 0; i < count; i++) {
    const entry = region(i);
    if (address - load<u64>(entry + RAM_START) < <u64>load<u32>(entry + RAM_BYTES)) return entry;
  }
  return 0;
}

/** First RAM address at or above `address`; all ones where none follows. */
export function nextRam(address: u64): u64 {
  const count = load<u32>(AT_RAM_COUNT);
  for (let i: u32 = 0; i < count; i++) {
    const entry = region(i);
    const start = load<u64>(entry + RAM_START);
    if (start >= address) return start;
    if (address - start < <u64>load<u32>(entry + RAM_BYTES)) return address;
  }
  return u64.MAX_VALUE;
}

function region(i: u32): usize {
  return AT_RAM + i * RAM_STRIDE;
}
