// The guard watches what devices do to memory: for every byte of RAM it knows which mapping allows which
// device to do what (guard-map.ts keeps that), and which bytes were ever written. It never changes what an
// access does; it writes findings, which the host collects and names.
import { DMA_READ, DMA_WRITE } from './codes';
import { Device } from './device';
import { markDirty } from './dirty';
import {
  FINDING_AT_ADDRESS,
  FINDING_AT_BYTES,
  FINDING_AT_COMMAND,
  FINDING_AT_COUNT,
  FINDING_AT_DEVICE,
  FINDING_AT_DIRECTION,
  FINDING_AT_DRIVEN,
  FINDING_AT_MAPPING,
  FINDING_AT_OTHER,
  FINDING_AT_RULE,
  FINDING_AT_TIME,
  FINDING_MAX,
  FINDING_STRIDE,
  GUARD_ADDRESSES,
  GUARD_INIT,
  GUARD_MAPPINGS,
  MAPPING_AT_ADDRESS,
  MAPPING_AT_DEVICE,
  MAPPING_AT_DIRECTION,
  MAPPING_AT_HANDLE,
  MAPPING_AT_STALE_FROM,
  MAPPING_AT_STALE_TO,
  MAPPING_AT_STATE,
  MAPPING_AT_WRITTEN,
  MAPPING_LIVE,
  NODE_AT_FROM,
  NODE_AT_MAPPING,
  NODE_AT_NEXT,
  NODE_AT_TO,
  RULE_DESC_LOOP,
  RULE_DEV_AFTER_UNMAP,
  RULE_DEV_DIRECTION,
  RULE_DEV_HOLE,
  RULE_DEV_NOMASTER,
  RULE_DEV_OVERRUN,
  RULE_DEV_REGISTERS,
  RULE_DEV_TRUNCATED,
  RULE_DEV_UNINIT,
  RULE_DEV_UNMAPPED,
  RULE_SYNC_MISSING,
} from './guard-codes';
import {
  AT_GUARD_FINDING_COUNT,
  AT_GUARD_FINDING_LOST,
  AT_GUARD_FINDINGS,
  AT_GUARD_FLAGS,
  AT_GUARD_INIT,
  AT_GUARD_PAGES,
  AT_NOW,
  PAGE_BYTES,
  PAGE_SHIFT,
  RAM_FIRST_PAGE,
  RAM_START,
} from './layout';

/**
 * An access that reached RAM: `bytes` bytes at `driven` in `region`, meant for `address`. Called only while
 * the guard is on.
 */
export function guardAccess(
  d: Device,
  address: u64,
  driven: u64,
  region: usize,
  bytes: u32,
  direction: u32,
): void {
  const flags = load<u32>(AT_GUARD_FLAGS);
  if (address != driven) {
    if ((flags & GUARD_ADDRESSES) != 0)
      report(RULE_DEV_TRUNCATED, d, address, driven, bytes, direction, 0, 0);
  } else if ((flags & GUARD_MAPPINGS) != 0) {
    checkMappings(d, driven, region, bytes, direction);
  }
  if (direction == DMA_WRITE && (flags & GUARD_INIT) != 0) markWritten(ramIndex(region, driven), bytes);
}

/** Data on its way to a medium: every byte must have been written by somebody. */
export function guardSent(d: Device, address: u64, driven: u64, region: usize, bytes: u32): void {
  if ((load<u32>(AT_GUARD_FLAGS) & GUARD_INIT) == 0) return;
  const index = ramIndex(region, driven);
  const first = firstUnwritten(index, bytes);
  if (first == bytes) return;
  let end = first + 1;
  while (end < bytes && !isWritten(index + end)) end++;
  report(RULE_DEV_UNINIT, d, address + first, driven + first, end - first, DMA_READ, 0, 0);
}

/** An access that reached on-chip memory, which no mapping covers. */
export function guardWindow(d: Device, address: u64, driven: u64, bytes: u32, direction: u32): void {
  if (address == driven || (load<u32>(AT_GUARD_FLAGS) & GUARD_ADDRESSES) == 0) return;
  report(RULE_DEV_TRUNCATED, d, address, driven, bytes, direction, 0, 0);
}

export function guardHole(d: Device, address: u64, driven: u64, bytes: u32, direction: u32): void {
  if ((load<u32>(AT_GUARD_FLAGS) & GUARD_ADDRESSES) == 0) return;
  const rule = address != driven ? RULE_DEV_TRUNCATED : RULE_DEV_HOLE;
  report(rule, d, address, driven, bytes, direction, 0, 0);
}

export function guardRegisters(
  d: Device,
  address: u64,
  driven: u64,
  bytes: u32,
  direction: u32,
  other: u32,
): void {
  if ((load<u32>(AT_GUARD_FLAGS) & GUARD_ADDRESSES) == 0) return;
  report(RULE_DEV_REGISTERS, d, address, driven, bytes, direction, 0, other);
}

export function guardNoMaster(d: Device, address: u64, bytes: u32, direction: u32): void {
  if ((load<u32>(AT_GUARD_FLAGS) & GUARD_ADDRESSES) == 0) return;
  report(RULE_DEV_NOMASTER, d, address, address, bytes, direction, 0, 0);
}

/** A descriptor chain loops or exceeds its bound; `address` is the descriptor where the model gave up. */
export function guardLoop(d: Device, address: u64): void {
  if ((load<u32>(AT_GUARD_FLAGS) & GUARD_ADDRESSES) == 0) return;
  report(RULE_DESC_LOOP, d, address, address & d.lines, 0, DMA_READ, 0, 0);
}

function checkMappings(d: Device, driven: u64, region: usize, bytes: u32, direction: u32): void {
  const pages: usize = load<u32>(AT_GUARD_PAGES);
  let at = driven;
  let left = bytes;
  while (left > 0) {
    const from = <u32>at & (PAGE_BYTES - 1);
    const n = min(left, PAGE_BYTES - from);
    const page =
      load<u32>(region + RAM_FIRST_PAGE) + <u32>((at - load<u64>(region + RAM_START)) >> PAGE_SHIFT);
    const head: usize = load<u32>(pages + (page << 2));
    let bad = covered(d, head, at - from, from, from + n, direction);
    while (bad < from + n) {
      const end = blame(d, head, at - from, bad, from + n, direction);
      bad = covered(d, head, at - from, end, from + n, direction);
    }
    at += n;
    left -= n;
  }
}

/** How far from `from` towards `to` the live mappings of the device allow the direction without a gap. `page`: its address. */
function covered(d: Device, head: usize, page: u64, from: u32, to: u32, direction: u32): u32 {
  while (from < to) {
    let reach = from;
    for (let node = head; node != 0; node = load<u32>(node, NODE_AT_NEXT)) {
      if (load<u32>(node, NODE_AT_FROM) > from || load<u32>(node, NODE_AT_TO) <= reach) continue;
      const mapping: usize = load<u32>(node, NODE_AT_MAPPING);
      if (!isLiveFor(mapping, d.id)) continue;
      if ((load<u32>(mapping, MAPPING_AT_DIRECTION) & direction) == 0) continue;
      reach = load<u32>(node, NODE_AT_TO);
      if (direction == DMA_WRITE && load<u32>(mapping, MAPPING_AT_WRITTEN) == 0) {
        markDirty(mapping + MAPPING_AT_WRITTEN, 4);
        store<u32>(mapping, 1, MAPPING_AT_WRITTEN);
      }
      if (load<u32>(mapping, MAPPING_AT_STALE_TO) != 0)
        checkStale(d, mapping, page + from, page + min(reach, to), direction);
    }
    if (reach == from) break;
    from = reach;
  }
  return from;
}

/** Reports what the device uses of the bytes that the CPU wrote and did not sync. */
function checkStale(d: Device, mapping: usize, from: u64, to: u64, direction: u32): void {
  const start = load<u64>(mapping, MAPPING_AT_ADDRESS);
  const first = max(from, start + load<u32>(mapping, MAPPING_AT_STALE_FROM));
  const end = min(to, start + load<u32>(mapping, MAPPING_AT_STALE_TO));
  if (first >= end) return;
  const handle = load<u32>(mapping, MAPPING_AT_HANDLE);
  report(RULE_SYNC_MISSING, d, first, first, <u32>(end - first), direction, handle, 0);
}

/**
 * Finds out which rule the byte `bad` of the page at `page` breaks, reports it for as many bytes towards `to` as
 * break it in the same way, and returns the byte behind them.
 */
function blame(d: Device, head: usize, page: u64, bad: u32, to: u32, direction: u32): u32 {
  let rule: u32 = RULE_DEV_UNMAPPED;
  let culprit: usize = 0;
  let culpritTo: u32 = 0;
  let end = to;
  for (let node = head; node != 0; node = load<u32>(node, NODE_AT_NEXT)) {
    const mapping: usize = load<u32>(node, NODE_AT_MAPPING);
    if (load<u32>(mapping, MAPPING_AT_DEVICE) != d.id) continue;
    const nodeFrom = load<u32>(node, NODE_AT_FROM);
    const nodeTo = load<u32>(node, NODE_AT_TO);
    const covers = nodeFrom <= bad && nodeTo > bad;
    const live = load<u32>(mapping, MAPPING_AT_STATE) == MAPPING_LIVE;
    if (nodeFrom > bad) end = min(end, nodeFrom);
    let found: u32 = 0;
    if (live && covers) found = RULE_DEV_DIRECTION;
    else if (covers) found = RULE_DEV_AFTER_UNMAP;
    else if (live) found = RULE_DEV_OVERRUN;
    // Of the mappings in the page, the one that ends last before the byte was overrun.
    const nearer = found == rule && found == RULE_DEV_OVERRUN && nodeTo <= bad && nodeTo > culpritTo;
    if (severity(found) > severity(rule) || nearer) {
      rule = found;
      culprit = mapping;
      culpritTo = covers || nodeTo <= bad ? nodeTo : 0;
    }
  }
  if (rule == RULE_DEV_DIRECTION || rule == RULE_DEV_AFTER_UNMAP) end = min(end, culpritTo);
  const handle = culprit == 0 ? 0 : load<u32>(culprit, MAPPING_AT_HANDLE);
  report(rule, d, page + bad, page + bad, end - bad, direction, handle, 0);
  return end;
}

/** A wrong direction says more than a stale mapping, that more than a neighbour, that more than nothing. */
function severity(rule: u32): u32 {
  if (rule == RULE_DEV_DIRECTION) return 4;
  if (rule == RULE_DEV_AFTER_UNMAP) return 3;
  if (rule == RULE_DEV_OVERRUN) return 2;
  return rule == RULE_DEV_UNMAPPED ? 1 : 0;
}

function isLiveFor(mapping: usize, device: u32): bool {
  return (
    load<u32>(mapping, MAPPING_AT_STATE) == MAPPING_LIVE && load<u32>(mapping, MAPPING_AT_DEVICE) == device
  );
}

/**
 * Writes a finding, or folds it into one of the same rule, device, direction and mapping: a piece that continues it
 * at the same moment within one command lengthens it, one that begins where it began counts it again, one inside is part of that.
 */
function report(
  rule: u32,
  d: Device,
  address: u64,
  driven: u64,
  bytes: u32,
  direction: u32,
  handle: u32,
  other: u32,
): void {
  const table: usize = load<u32>(AT_GUARD_FINDINGS);
  const count = load<u32>(AT_GUARD_FINDING_COUNT);
  const now = load<u64>(AT_NOW);
  for (let i: u32 = 0; i < count; i++) {
    const f = table + i * FINDING_STRIDE;
    if (load<u32>(f, FINDING_AT_RULE) != rule || load<u32>(f, FINDING_AT_DEVICE) != d.id) continue;
    if (load<u32>(f, FINDING_AT_DIRECTION) != direction || load<u32>(f, FINDING_AT_MAPPING) != handle)
      continue;
    const into = address - load<u64>(f, FINDING_AT_ADDRESS);
    const length = load<u32>(f, FINDING_AT_BYTES);
    if (driven - load<u64>(f, FINDING_AT_DRIVEN) != into) continue;
    const goesOn = load<u32>(f, FINDING_AT_COMMAND) == d.command && load<u64>(f, FINDING_AT_TIME) == now;
    if (into == length && goesOn) {
      markDirty(f, FINDING_STRIDE);
      store<u32>(f, length + bytes, FINDING_AT_BYTES);
      return;
    }
    if (into < length && into + bytes <= length) {
      if (into != 0) return;
      markDirty(f, FINDING_STRIDE);
      store<u32>(f, load<u32>(f, FINDING_AT_COUNT) + 1, FINDING_AT_COUNT);
      return;
    }
  }
  if (count == FINDING_MAX) {
    store<u32>(AT_GUARD_FINDING_LOST, load<u32>(AT_GUARD_FINDING_LOST) + 1);
    return;
  }
  const f = table + count * FINDING_STRIDE;
  markDirty(f, FINDING_STRIDE);
  store<u32>(f, rule, FINDING_AT_RULE);
  store<u32>(f, d.id, FINDING_AT_DEVICE);
  store<u64>(f, address, FINDING_AT_ADDRESS);
  store<u64>(f, driven, FINDING_AT_DRIVEN);
  store<u32>(f, bytes, FINDING_AT_BYTES);
  store<u32>(f, direction, FINDING_AT_DIRECTION);
  store<u32>(f, handle, FINDING_AT_MAPPING);
  store<u32>(f, d.command, FINDING_AT_COMMAND);
  store<u32>(f, 1, FINDING_AT_COUNT);
  store<u32>(f, other, FINDING_AT_OTHER);
  store<u64>(f, now, FINDING_AT_TIME);
  store<u32>(AT_GUARD_FINDING_COUNT, count + 1);
}

/** Index of a byte among all bytes of RAM. */
function ramIndex(region: usize, driven: u64): u32 {
  return (load<u32>(region + RAM_FIRST_PAGE) << PAGE_SHIFT) + <u32>(driven - load<u64>(region + RAM_START));
}

function isWritten(index: u32): bool {
  const byte: usize = load<u32>(AT_GUARD_INIT) + (index >>> 3);
  return (load<u8>(byte) & (1 << (index & 7))) != 0;
}

function markWritten(index: u32, bytes: u32): void {
  setWritten(index, bytes, true);
}

/** Says of `bytes` bytes of RAM from the `index`th on whether they were written. */
export function setWritten(index: u32, bytes: u32, written: bool): void {
  const table: usize = load<u32>(AT_GUARD_INIT);
  if (table == 0 || bytes == 0) return;
  const end = index + bytes;
  markDirty(table + (index >>> 3), ((end - 1) >>> 3) - (index >>> 3) + 1);
  while (index < end && (index & 7) != 0) setBit(table, index++, written);
  const whole = (end - index) >>> 3;
  if (index < end) memory.fill(table + (index >>> 3), written ? 0xff : 0, whole);
  index += whole << 3;
  while (index < end) setBit(table, index++, written);
}

/**
 * Bytes of RAM were copied from the `from`th to the `to`th on, by the CPU: the copy of what nobody wrote is as unwritten
 * as that.
 */
export function copyWritten(to: u32, from: u32, bytes: u32): void {
  const table: usize = load<u32>(AT_GUARD_INIT);
  if (table == 0 || to == from || bytes == 0) return;
  markDirty(table + (to >>> 3), ((to + bytes - 1) >>> 3) - (to >>> 3) + 1);
  if (((to | from | bytes) & 7) == 0) {
    memory.copy(table + (to >>> 3), table + (from >>> 3), bytes >>> 3);
    return;
  }
  if (to < from) for (let i: u32 = 0; i < bytes; i++) setBit(table, to + i, isWritten(from + i));
  else for (let i = bytes; i > 0; i--) setBit(table, to + i - 1, isWritten(from + i - 1));
}

function setBit(table: usize, index: u32, written: bool): void {
  const at = table + (index >>> 3);
  const bit: u32 = 1 << (index & 7);
  const byte: u32 = load<u8>(at);
  store<u8>(at, <u8>(written ? byte | bit : byte & ~bit));
}

/** How many of the bytes from the `index`th on were written before the first that was not. */
function firstUnwritten(index: u32, bytes: u32): u32 {
  const table: usize = load<u32>(AT_GUARD_INIT);
  let i: u32 = 0;
  while (i < bytes) {
    const at = index + i;
    if ((at & 63) == 0 && bytes - i >= 64 && load<u64>(table + (at >>> 3)) == u64.MAX_VALUE) {
      i += 64;
      continue;
    }
    if (!isWritten(at)) return i;
    i++;
  }
  return bytes;
}
