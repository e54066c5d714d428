// The arena: the one part of the module's memory that changes. A bump allocator, no free: devices, media
// and RAM live as long as the machine does.
import {
  ARENA_BASE,
  AT_ARENA_END,
  AT_ARENA_TOP,
  AT_FREE,
  AT_MAGIC,
  AT_ONES,
  AT_REQUEST_FREE,
  AT_REQUESTS,
  AT_VERSION,
  LAYOUT_VERSION,
  PAGE_BYTES,
  REQUEST_MAX,
  REQUEST_STRIDE,
} from './layout';

/** "BKPL" in memory. */
const MAGIC: u32 = 0x4c504b42;

/**
 * Lays an empty machine into the memory, whose last byte is at `memoryBytes` − 1. The memory is new, all zeroes,
 * or has held a machine, whose bytes are zeroed: so that RAM which nobody touches costs nothing.
 */
export function initArena(memoryBytes: u32): bool {
  if (memoryBytes < <u32>AT_FREE) return false;
  const used: u32 = load<u32>(AT_MAGIC) == MAGIC ? load<u32>(AT_ARENA_TOP) : 0;
  if (used > <u32>AT_FREE) memory.fill(AT_FREE, 0, min(used, memoryBytes) - AT_FREE);
  memory.fill(ARENA_BASE, 0, AT_FREE - ARENA_BASE);
  store<u32>(AT_MAGIC, MAGIC);
  store<u32>(AT_VERSION, LAYOUT_VERSION);
  store<u32>(AT_ARENA_TOP, AT_FREE);
  store<u32>(AT_ARENA_END, memoryBytes);
  memory.fill(AT_ONES, 0xff, PAGE_BYTES);
  for (let i: u32 = REQUEST_MAX; i > 0; i--) {
    const request: usize = AT_REQUESTS + (i - 1) * REQUEST_STRIDE;
    store<u32>(request, load<u32>(AT_REQUEST_FREE));
    store<u32>(AT_REQUEST_FREE, <u32>request);
  }
  return true;
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
