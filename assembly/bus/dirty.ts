// Which pages of the arena have changed since the host last took them into a snapshot or out of one. Whoever writes
// to RAM, to RAM disks or to the guard's tables says so here; everything else in the arena is small and changes all
// the time, so that the host takes it whole. Until the first snapshot no page is clean, and nothing is entered.
import {
  AT_DIRTY_COUNT,
  AT_DIRTY_FLAGS,
  AT_DIRTY_LIST,
  AT_MEMORY_END,
  PAGE_BYTES,
  PAGE_CHANGED,
  PAGE_CLEAN,
  PAGE_FIXED,
  PAGE_SHIFT,
} from './layout';

/**
 * Lays the tables, a flag and a place in the list for each page, at the end of the memory. Returns their first byte: the
 * arena's end.
 */
export function initDirty(memoryBytes: u32): u32 {
  store<u32>(AT_MEMORY_END, memoryBytes);
  const pages = memoryBytes >>> PAGE_SHIFT;
  const list = memoryBytes - (pages << 2);
  const flags = (list - pages) & ~63;
  store<u32>(AT_DIRTY_LIST, list);
  store<u32>(AT_DIRTY_FLAGS, flags);
  store<u32>(AT_DIRTY_COUNT, 0);
  memory.fill(flags, <u8>PAGE_FIXED, pages);
  return flags;
}

/** Has every whole page between `from` and `to` taken into snapshots by itself, once it has changed. */
export function trackPages(from: u32, to: u32): void {
  const first = (from + PAGE_BYTES - 1) >>> PAGE_SHIFT;
  const last = to >>> PAGE_SHIFT;
  if (first < last) memory.fill(load<u32>(AT_DIRTY_FLAGS) + first, <u8>PAGE_CHANGED, last - first);
}

/** `bytes` bytes at `at`, one at least, change now, or may. */
export function markDirty(at: usize, bytes: u32): void {
  const flags: usize = load<u32>(AT_DIRTY_FLAGS);
  const last = (at + bytes - 1) >>> PAGE_SHIFT;
  for (let page = at >>> PAGE_SHIFT; page <= last; page++) {
    if (load<u8>(flags + page) == <u8>PAGE_CLEAN) enter(flags, page);
  }
}

function enter(flags: usize, page: usize): void {
  store<u8>(flags + page, PAGE_CHANGED);
  const count = load<u32>(AT_DIRTY_COUNT);
  store<u32>(load<u32>(AT_DIRTY_LIST) + (count << 2), <u32>page);
  store<u32>(AT_DIRTY_COUNT, count + 1);
}

/** The first page from `from` on that does not hold zeroes alone; `to` where none is before it. Both are pages' ends. */
export function nextNonZero(from: u32, to: u32): u32 {
  for (let page: usize = from; page < <usize>to; page += PAGE_BYTES) {
    for (let at = page; at < page + PAGE_BYTES; at += 32) {
      if ((load<u64>(at) | load<u64>(at, 8) | load<u64>(at, 16) | load<u64>(at, 24)) != 0) return <u32>page;
    }
  }
  return to;
}
