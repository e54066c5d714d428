// On-chip memory: windows of a BAR behind which is memory of the module and not registers. The CPU reaches a window
// through the BAR; a device reaches it through the DMA port, which looks here where no RAM is. A copy, as with RAM:
// no model is entered, so that DMA can never call into a device.
import { DMA_BOTH } from './codes';
import { Device, deviceAt, functionOf } from './device';
import { markDirty } from './dirty';
import {
  AT_WINDOW_COUNT,
  AT_WINDOWS,
  WINDOW_ACCESS,
  WINDOW_AT,
  WINDOW_BAR,
  WINDOW_BASE,
  WINDOW_BYTES,
  WINDOW_DECODE,
  WINDOW_DEVICE,
  WINDOW_DIRECT,
  WINDOW_HOST,
  WINDOW_MAX,
  WINDOW_MEMORY,
  WINDOW_SELF,
  WINDOW_STRIDE,
} from './layout';
import { barAddress, barReached } from './pci';

/**
 * Puts `bytes` bytes of module memory at `memory` behind byte `at` of the memory BAR `bar`, open to everybody until
 * setWindow() says otherwise. Returns the window, 0 when the machine has WINDOW_MAX of them.
 */
export function addWindow(d: Device, bar: u32, at: u32, bytes: u32, memory: u32): usize {
  const count = load<u32>(AT_WINDOW_COUNT);
  if (count == WINDOW_MAX) return 0;
  const w = windowOf(count);
  store<u32>(w, <u32>changetype<usize>(d), WINDOW_DEVICE);
  store<u32>(w, bar, WINDOW_BAR);
  store<u32>(w, at, WINDOW_AT);
  store<u32>(w, bytes, WINDOW_BYTES);
  store<u32>(w, memory, WINDOW_MEMORY);
  setWindow(w, WINDOW_HOST | WINDOW_SELF, DMA_BOTH, 0);
  store<u32>(AT_WINDOW_COUNT, count + 1);
  d.windows++;
  return w;
}

/**
 * Says who reaches a window: WINDOW_* bits, what DMA may do there (DMA_* bits), and the address at which its own
 * device finds it with WINDOW_DIRECT.
 */
export function setWindow(w: usize, decode: u32, access: u32, base: u64): void {
  store<u32>(w, decode, WINDOW_DECODE);
  store<u32>(w, access, WINDOW_ACCESS);
  store<u64>(w, base, WINDOW_BASE);
}

/** Where the byte is that `d` reaches in on-chip memory at `address`, 0: nowhere. RAM goes before. */
export function windowAt(d: Device, address: u64, direction: u32): usize {
  const count = load<u32>(AT_WINDOW_COUNT);
  for (let i: u32 = 0; i < count; i++) {
    const w = windowOf(i);
    if ((load<u32>(w, WINDOW_ACCESS) & direction) == 0) continue;
    const bytes = <u64>load<u32>(w, WINDOW_BYTES);
    const memory: usize = load<u32>(w, WINDOW_MEMORY);
    if (isDirect(w, d) && address - load<u64>(w, WINDOW_BASE) < bytes) {
      return memory + <usize>(address - load<u64>(w, WINDOW_BASE));
    }
    if (!isDecoded(w, d)) continue;
    const start = startOf(w);
    if (address - start < bytes) return memory + <usize>(address - start);
  }
  return 0;
}

/** Bytes from `address` on up to the place where a window that `d` may reach begins or ends. */
export function untilWindowEdge(d: Device, address: u64): u64 {
  const count = load<u32>(AT_WINDOW_COUNT);
  let left = u64.MAX_VALUE;
  for (let i: u32 = 0; i < count; i++) {
    const w = windowOf(i);
    const bytes = <u64>load<u32>(w, WINDOW_BYTES);
    if (isDirect(w, d)) left = min(left, untilEdge(load<u64>(w, WINDOW_BASE), bytes, address));
    if (isDecoded(w, d)) left = min(left, untilEdge(startOf(w), bytes, address));
  }
  return left;
}

/** Where `size` bytes at `at` of a BAR are, 0: not all in a window. */
export function windowInBar(d: Device, bar: u32, at: u32, size: u32): usize {
  const count = load<u32>(AT_WINDOW_COUNT);
  for (let i: u32 = 0; i < count; i++) {
    const w = windowOf(i);
    if (load<u32>(w, WINDOW_DEVICE) != <u32>changetype<usize>(d) || load<u32>(w, WINDOW_BAR) != bar) continue;
    if ((load<u32>(w, WINDOW_DECODE) & WINDOW_HOST) == 0) continue;
    const into = at - load<u32>(w, WINDOW_AT);
    const bytes = load<u32>(w, WINDOW_BYTES);
    if (into < bytes && bytes - into >= size) return <usize>load<u32>(w, WINDOW_MEMORY) + into;
  }
  return 0;
}

/** An access of the CPU to a window. */
export function windowRead(at: usize, size: u32): u32 {
  if (size == 1) return load<u8>(at);
  return size == 2 ? <u32>load<u16>(at) : load<u32>(at);
}

export function windowWrite(at: usize, size: u32, value: u32): void {
  markDirty(at, size);
  if (size == 1) store<u8>(at, <u8>value);
  else if (size == 2) store<u16>(at, <u16>value);
  else store<u32>(at, value);
}

function isDirect(w: usize, d: Device): bool {
  return (
    (load<u32>(w, WINDOW_DECODE) & WINDOW_DIRECT) != 0 &&
    load<u32>(w, WINDOW_DEVICE) == <u32>changetype<usize>(d)
  );
}

/** Whether `d` reaches the window where its BAR is now. */
function isDecoded(w: usize, d: Device): bool {
  const own = load<u32>(w, WINDOW_DEVICE) == <u32>changetype<usize>(d);
  if ((load<u32>(w, WINDOW_DECODE) & (own ? WINDOW_SELF : WINDOW_HOST)) == 0) return false;
  return barReached(deviceAt(load<u32>(w, WINDOW_DEVICE)), load<u32>(w, WINDOW_BAR));
}

function startOf(w: usize): u64 {
  const owner = deviceAt(load<u32>(w, WINDOW_DEVICE));
  return barAddress(functionOf(owner), load<u32>(w, WINDOW_BAR)) + load<u32>(w, WINDOW_AT);
}

function untilEdge(start: u64, bytes: u64, address: u64): u64 {
  if (start > address) return start - address;
  return address - start < bytes ? bytes - (address - start) : u64.MAX_VALUE;
}

function windowOf(i: u32): usize {
  return AT_WINDOWS + i * WINDOW_STRIDE;
}
