// The arena: the one part of the module's memory that changes. A bump allocator, no free: devices, media
// and RAM live as long as the machine does.
import { initDirty, trackPages } from './dirty';
import {
  ARENA_BASE,
  AT_ARENA_END,
  AT_ARENA_TOP,
  AT_FREE,
  AT_MACHINE_NUMBER,
  AT_MAGIC,
  AT_MEMORY_END,
  AT_ONES,
  AT_REQUEST_FREE,
  AT_REQUEST_USED,
  AT_REQUESTS,
  AT_VERSION,
  DISK_MAX,
  LAYOUT_VERSION,
  PAGE_BYTES,
  REQUEST_MAX,
  REQUEST_STRIDE,
} from './layout';

/** "BKPL" in memory. */
const MAGIC: u32 = 0x4c504b42;
/** What the tables of dirty.ts take at least, beside five bytes a page. */
const TABLES_MIN: u32 = 0x1000;
const REQUESTS_END: u32 = AT_REQUESTS + REQUEST_MAX * REQUEST_STRIDE;

/**
 * Lays an empty machine into the memory, whose last byte is at `memoryBytes` − 1. The memory is new, all zeroes,
 * or has held a machine, whose bytes are zeroed: so that RAM which nobody touches costs nothing.
 */
export function initArena(memoryBytes: u32): bool {
  if (memoryBytes < <u32>AT_FREE + TABLES_MIN) return false;
  if (load<u32>(AT_MAGIC) == MAGIC) {
    const end = min(load<u32>(AT_MEMORY_END), memoryBytes);
    const tables = min(load<u32>(AT_ARENA_END), end);
    memory.fill(AT_FREE, 0, min(load<u32>(AT_ARENA_TOP), end) - AT_FREE);
    memory.fill(tables, 0, end - tables);
  }
  memory.fill(ARENA_BASE, 0, AT_FREE - ARENA_BASE);
  store<u32>(AT_MAGIC, MAGIC);
  store<u32>(AT_VERSION, LAYOUT_VERSION);
  store<u32>(AT_ARENA_TOP, AT_FREE);
  store<u32>(AT_ARENA_END, initDirty(memoryBytes));
  memory.fill(AT_ONES, 0xff, PAGE_BYTES);
  store<u32>(AT_REQUEST_FREE, AT_REQUESTS);
  store<u32>(AT_REQUEST_USED, AT_REQUESTS);
  resetRequests(AT_REQUESTS, REQUESTS_END);
  return true;
}

/** Makes the media requests between two offsets what they were at first: free, each followed by the next. */
export function resetRequests(from: u32, to: u32): void {
  for (let request = from; request < to; request += REQUEST_STRIDE) {
    memory.fill(request, 0, REQUEST_STRIDE);
    const next = request + REQUEST_STRIDE;
    store<u32>(request, next < REQUESTS_END ? next : 0);
  }
}

/** What a serial number or world wide name is made of: the number of a device or disk, one of its own in every machine. */
export function uniqueId(id: u32): u32 {
  return load<u32>(AT_MACHINE_NUMBER) * (DISK_MAX + 1) + id;
}

/** Reserves `bytes` bytes of zeroes at a multiple of `align` (a power of two); 0 when the memory is used up. */
export function reserve(bytes: u32, align: u32): u32 {
  const top: u64 = <u64>load<u32>(AT_ARENA_TOP);
  const start: u64 = (top + (align - 1)) & ~(<u64>align - 1);
  const end: u64 = start + bytes;
  if (end > <u64>load<u32>(AT_ARENA_END)) return 0;
  store<u32>(AT_ARENA_TOP, <u32>end);
  return <u32>start;
}

/** As reserve(), for what is large and changes here and there: its writers call markDirty(). */
export function reserveTracked(bytes: u32, align: u32): u32 {
  const offset = reserve(bytes, align);
  if (offset != 0) trackPages(offset, offset + bytes);
  return offset;
}
