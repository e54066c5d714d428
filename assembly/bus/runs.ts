// Copies between consecutive bytes of the module's memory and the run list, which the mover has collected: what is in
// the module by memory.copy, what is in the host's RAM by one call for as many runs as stand together.
import { memoryMove, memoryRead } from '../host';
import { AT_COMPARED, AT_MOVE_EXTERNAL, AT_RUN_ADDRESSES, AT_RUNS, RUN_STRIDE } from './layout';

/** Copies between the bytes from `at` on and the runs, which end after `bytes` bytes at the latest. */
export function copyRuns(at: usize, runs: u32, bytes: u32, toMemory: bool): void {
  if (load<u32>(AT_MOVE_EXTERNAL) != 0) return copyMixed(at, trimRuns(bytes, runs), toMemory);
  for (
    let run: usize = AT_RUNS, end: usize = AT_RUNS + runs * RUN_STRIDE;
    run < end && bytes > 0;
    run += RUN_STRIDE
  ) {
    const memoryAt: usize = load<u32>(run);
    const n = min(load<u32>(run, 4), bytes);
    if (toMemory) memory.copy(memoryAt, at, n);
    else memory.copy(at, memoryAt, n);
    at += n;
    bytes -= n;
  }
}

/** Shortens the run list to `bytes` bytes; how many runs are left. */
export function trimRuns(bytes: u32, runs: u32): u32 {
  let i: u32 = 0;
  for (; i < runs && bytes > 0; i++) {
    const run: usize = AT_RUNS + i * RUN_STRIDE;
    const n = min(load<u32>(run, 4), bytes);
    store<u32>(run, n, 4);
    bytes -= n;
  }
  return i;
}

function copyMixed(at: usize, runs: u32, toMemory: bool): void {
  let i: u32 = 0;
  while (i < runs) {
    const inside: usize = offsetOf(i);
    const first = i;
    let bytes = lengthOf(i++);
    if (inside != 0) {
      if (toMemory) memory.copy(inside, at, bytes);
      else memory.copy(at, inside, bytes);
    } else {
      for (; i < runs && offsetOf(i) == 0; i++) bytes += lengthOf(i);
      memoryMove(first, i - first, <u32>at, toMemory ? 1 : 0);
    }
    at += bytes;
  }
}

/**
 * Where bytes `from` to `from` + `bytes` (a page at most) of the run at `at`, with the address that stood beside it,
 * can be read: where they are, or fetched from the host's RAM.
 */
export function bytesOfRun(at: usize, address: u64, from: u32, bytes: u32): usize {
  if (at != 0) return at + from;
  const first = address + from;
  memoryRead(<u32>first, <u32>(first >> 32), AT_COMPARED, bytes);
  return AT_COMPARED;
}

/** Physical address of run `i`, if that is in the host's RAM. */
export function addressOfRun(i: u32): u64 {
  return load<u64>(<usize>AT_RUN_ADDRESSES + (i << 3));
}

/** The first byte of what the last transfer went through. */
export function firstOfRuns(): u8 {
  return load<u8>(bytesOfRun(offsetOf(0), addressOfRun(0), 0, 1));
}

function offsetOf(i: u32): u32 {
  return load<u32>(<usize>AT_RUNS + i * RUN_STRIDE);
}

function lengthOf(i: u32): u32 {
  return load<u32>(<usize>AT_RUNS + i * RUN_STRIDE, 4);
}
