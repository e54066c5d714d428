// What the guard knows of mappings: for each page of RAM a list of the mappings that cover some of its bytes.
// A mapping that ends stays in the lists as dead, a few to a page, so that an access that comes too late can
// be told from one to memory that was never mapped.
import { reserveTracked } from './arena';
import { markDirty } from './dirty';
import {
  FINDING_MAX,
  FINDING_STRIDE,
  GUARD_INIT,
  GUARD_MAPPINGS,
  MAPPING_AT_ADDRESS,
  MAPPING_AT_BYTES,
  MAPPING_AT_DEVICE,
  MAPPING_AT_DIRECTION,
  MAPPING_AT_HANDLE,
  MAPPING_AT_NEXT_FREE,
  MAPPING_AT_NODES,
  MAPPING_AT_STALE_FROM,
  MAPPING_AT_STALE_TO,
  MAPPING_AT_STATE,
  MAPPING_AT_WRITTEN,
  MAPPING_DEAD,
  MAPPING_FREE,
  MAPPING_LIVE,
  MAPPING_STRIDE,
  NODE_AT_FROM,
  NODE_AT_MAPPING,
  NODE_AT_NEXT,
  NODE_AT_TO,
  NODE_STRIDE,
} from './guard-codes';
import {
  AT_GUARD_FINDINGS,
  AT_GUARD_FLAGS,
  AT_GUARD_INIT,
  AT_GUARD_LIVE,
  AT_GUARD_MAPPING_CAPACITY,
  AT_GUARD_MAPPING_FREE,
  AT_GUARD_MAPPINGS,
  AT_GUARD_NODE_FREE,
  AT_GUARD_NODES,
  AT_GUARD_NODES_LEFT,
  AT_GUARD_PAGES,
  AT_RAM_PAGES,
  PAGE_BYTES,
  PAGE_SHIFT,
  RAM_BYTES,
  RAM_FIRST_PAGE,
  RAM_START,
} from './layout';
import { findRam, nextRam } from './ram';

/** Dead mappings that a page remembers. */
const DEAD_A_PAGE: u32 = 4;

/**
 * Sets up the tables that the checks need, after the RAM is in place; checks may be added later. `mappings`: how many
 * may be alive at once.
 */
export function enableGuard(flags: u32, mappings: u32): bool {
  if ((flags & GUARD_MAPPINGS) != 0 && load<u32>(AT_GUARD_MAPPINGS) == 0 && !layTables(mappings))
    return false;
  if (!lay(AT_GUARD_FINDINGS, FINDING_MAX * FINDING_STRIDE)) return false;
  const written = load<u32>(AT_RAM_PAGES) << (PAGE_SHIFT - 3);
  if ((flags & GUARD_INIT) != 0 && !lay(AT_GUARD_INIT, written)) return false;
  store<u32>(AT_GUARD_FLAGS, flags);
  return true;
}

/** Reserves a table, unless there is one, and enters where it is at `place`. */
function lay(place: usize, bytes: u32): bool {
  if (load<u32>(place) == 0) store<u32>(place, reserveTracked(bytes, 64));
  return load<u32>(place) != 0;
}

function layTables(mappings: u32): bool {
  const pages = load<u32>(AT_RAM_PAGES);
  const nodes = mappings + pages * 2;
  const pageTable = reserveTracked(pages << 2, 16);
  const nodeTable = reserveTracked(nodes * NODE_STRIDE, 16);
  const mappingTable = reserveTracked((mappings + 1) * MAPPING_STRIDE, 16);
  if (pageTable == 0 || nodeTable == 0 || mappingTable == 0) return false;
  for (let i: u32 = 0; i < nodes; i++) freeNode(nodeTable + i * NODE_STRIDE);
  for (let i = mappings; i > 0; i--) freeMapping(mappingTable + i * MAPPING_STRIDE);
  store<u32>(AT_GUARD_PAGES, pageTable);
  store<u32>(AT_GUARD_NODES, nodeTable);
  store<u32>(AT_GUARD_MAPPINGS, mappingTable);
  store<u32>(AT_GUARD_MAPPING_CAPACITY, mappings);
  return true;
}

/**
 * Allows `device` to do `direction` with `bytes` bytes at `address`. Returns the mapping's slot, 0 when the
 * tables are full. `handle` is the host's name for it, which findings carry.
 */
export function guardMap(device: u32, address: u64, bytes: u32, direction: u32, handle: u32): u32 {
  if (!roomFor(bytes)) return 0;
  const mapping: usize = load<u32>(AT_GUARD_MAPPING_FREE);
  markDirty(mapping, MAPPING_STRIDE);
  store<u32>(AT_GUARD_MAPPING_FREE, load<u32>(mapping, MAPPING_AT_NEXT_FREE));
  store<u32>(mapping, MAPPING_LIVE, MAPPING_AT_STATE);
  store<u32>(mapping, device, MAPPING_AT_DEVICE);
  store<u64>(mapping, address, MAPPING_AT_ADDRESS);
  store<u32>(mapping, bytes, MAPPING_AT_BYTES);
  store<u32>(mapping, direction, MAPPING_AT_DIRECTION);
  store<u32>(mapping, handle, MAPPING_AT_HANDLE);
  store<u32>(mapping, 0, MAPPING_AT_NODES);
  store<u32>(mapping, 0, MAPPING_AT_WRITTEN);
  store<u64>(mapping, 0, MAPPING_AT_STALE_FROM);
  store<u32>(AT_GUARD_LIVE, load<u32>(AT_GUARD_LIVE) + 1);
  addNodes(mapping, address, bytes);
  return <u32>(mapping - load<u32>(AT_GUARD_MAPPINGS)) / MAPPING_STRIDE;
}

/** Ends the mapping in `slot`; false when there is none. */
export function guardUnmap(slot: u32): bool {
  if (slot == 0 || slot > load<u32>(AT_GUARD_MAPPING_CAPACITY)) return false;
  const mapping: usize = load<u32>(AT_GUARD_MAPPINGS) + slot * MAPPING_STRIDE;
  if (load<u32>(mapping, MAPPING_AT_STATE) != MAPPING_LIVE) return false;
  markDirty(mapping, MAPPING_STRIDE);
  store<u32>(mapping, MAPPING_DEAD, MAPPING_AT_STATE);
  store<u32>(AT_GUARD_LIVE, load<u32>(AT_GUARD_LIVE) - 1);
  if (load<u32>(mapping, MAPPING_AT_NODES) == 0) {
    freeMapping(mapping);
    return true;
  }
  const address = load<u64>(mapping, MAPPING_AT_ADDRESS);
  const end = address + load<u32>(mapping, MAPPING_AT_BYTES);
  for (let at = address & ~(<u64>(PAGE_BYTES - 1)); at < end; at += PAGE_BYTES) {
    const region = findRam(at);
    if (region != 0) prune(pageSlot(region, at), DEAD_A_PAGE);
  }
  return true;
}

/** The CPU has written these bytes of the mapping in `slot`, and the device does not know yet; none: all is synced. */
export function guardStale(slot: u32, from: u32, to: u32): void {
  const mapping: usize = load<u32>(AT_GUARD_MAPPINGS) + slot * MAPPING_STRIDE;
  markDirty(mapping, MAPPING_STRIDE);
  store<u32>(mapping, from, MAPPING_AT_STALE_FROM);
  store<u32>(mapping, to, MAPPING_AT_STALE_TO);
}

/** Whether the device has written through the mapping in `slot`. */
export function guardHasWritten(slot: u32): bool {
  return load<u32>(load<u32>(AT_GUARD_MAPPINGS) + slot * MAPPING_STRIDE, MAPPING_AT_WRITTEN) != 0;
}

/** Enters the mapping in the list of every page of RAM that it covers in part or whole. */
function addNodes(mapping: usize, address: u64, bytes: u32): void {
  const end = address + bytes;
  let at = address;
  let added: u32 = 0;
  while (at < end) {
    const region = findRam(at);
    if (region == 0) {
      at = nextRam(at);
      continue;
    }
    const regionEnd = load<u64>(region + RAM_START) + load<u32>(region + RAM_BYTES);
    const stop = min(end, regionEnd);
    while (at < stop) {
      const from = <u32>at & (PAGE_BYTES - 1);
      const n = min<u64>(stop - at, PAGE_BYTES - from);
      addNode(mapping, pageSlot(region, at), from, from + <u32>n);
      added++;
      at += n;
    }
  }
  store<u32>(mapping, added, MAPPING_AT_NODES);
}

function addNode(mapping: usize, slot: usize, from: u32, to: u32): void {
  const node: usize = load<u32>(AT_GUARD_NODE_FREE);
  markDirty(node, NODE_STRIDE);
  markDirty(slot, 4);
  store<u32>(AT_GUARD_NODE_FREE, load<u32>(node, NODE_AT_NEXT));
  store<u32>(AT_GUARD_NODES_LEFT, load<u32>(AT_GUARD_NODES_LEFT) - 1);
  store<u32>(node, <u32>mapping, NODE_AT_MAPPING);
  store<u32>(node, from, NODE_AT_FROM);
  store<u32>(node, to, NODE_AT_TO);
  store<u32>(node, load<u32>(slot), NODE_AT_NEXT);
  store<u32>(slot, <u32>node);
}

/** Whether a mapping of `bytes` bytes finds room; forgets all dead mappings if it must. */
function roomFor(bytes: u32): bool {
  const needed = (bytes >>> PAGE_SHIFT) + 2;
  if (load<u32>(AT_GUARD_MAPPING_FREE) != 0 && load<u32>(AT_GUARD_NODES_LEFT) >= needed) return true;
  const pages = load<u32>(AT_RAM_PAGES);
  const table: usize = load<u32>(AT_GUARD_PAGES);
  for (let i: u32 = 0; i < pages; i++) prune(table + (i << 2), 0);
  return load<u32>(AT_GUARD_MAPPING_FREE) != 0 && load<u32>(AT_GUARD_NODES_LEFT) >= needed;
}

/** Takes dead nodes out of a page's list, all but the `keep` youngest. */
function prune(slot: usize, keep: u32): void {
  let link = slot;
  while (true) {
    const node: usize = load<u32>(link);
    if (node == 0) return;
    const mapping: usize = load<u32>(node, NODE_AT_MAPPING);
    if (load<u32>(mapping, MAPPING_AT_STATE) == MAPPING_LIVE || keep > 0) {
      if (load<u32>(mapping, MAPPING_AT_STATE) != MAPPING_LIVE) keep--;
      link = node + NODE_AT_NEXT;
      continue;
    }
    markDirty(link, 4);
    store<u32>(link, load<u32>(node, NODE_AT_NEXT));
    freeNode(node);
    const nodes = load<u32>(mapping, MAPPING_AT_NODES) - 1;
    markDirty(mapping, MAPPING_STRIDE);
    store<u32>(mapping, nodes, MAPPING_AT_NODES);
    if (nodes == 0) freeMapping(mapping);
  }
}

function freeNode(node: usize): void {
  markDirty(node, NODE_STRIDE);
  store<u32>(node, load<u32>(AT_GUARD_NODE_FREE), NODE_AT_NEXT);
  store<u32>(AT_GUARD_NODE_FREE, <u32>node);
  store<u32>(AT_GUARD_NODES_LEFT, load<u32>(AT_GUARD_NODES_LEFT) + 1);
}

function freeMapping(mapping: usize): void {
  markDirty(mapping, MAPPING_STRIDE);
  store<u32>(mapping, MAPPING_FREE, MAPPING_AT_STATE);
  store<u32>(mapping, load<u32>(AT_GUARD_MAPPING_FREE), MAPPING_AT_NEXT_FREE);
  store<u32>(AT_GUARD_MAPPING_FREE, <u32>mapping);
}

/** Where the head of the list of the page at `address` stands. */
function pageSlot(region: usize, address: u64): usize {
  const page =
    load<u32>(region + RAM_FIRST_PAGE) + <u32>((address - load<u64>(region + RAM_START)) >> PAGE_SHIFT);
  return load<u32>(AT_GUARD_PAGES) + (page << 2);
}
