// Moves one command's data between its source (a medium's request, or a buffer of the model) and memory:
// moveRequest() or moveBuffer(), then a moveSegment() for each scatter-gather element, then moveEnd().
// The state lives from the first of these calls to the last, within one call into the module.

import { MEDIA_OK } from '../media/codes';
import { Request, reachLimit, readableEnd, requestTransfer } from '../media/media';
import { DMA_OK, DMA_READ, DMA_WRITE } from './codes';
import { Device } from './device';
import { markDirty } from './dirty';
import { appendRun, dmaRuns } from './dma';
import {
  AT_MOVE_BUFFER,
  AT_MOVE_COMPARES,
  AT_MOVE_DIFFERS,
  AT_MOVE_EXTERNAL,
  AT_MOVE_FAULT,
  AT_MOVE_LIMITED,
  AT_MOVE_OFFSET,
  AT_MOVE_PENDING_BYTES,
  AT_MOVE_RUNS,
  AT_MOVE_SOURCE,
  AT_MOVE_STATUS,
  AT_MOVE_TO_MEMORY,
  AT_NOWHERE,
  AT_RUNS,
  PAGE_BYTES,
  RUN_STRIDE,
} from './layout';
import { addressOfRun, bytesOfRun, copyRuns } from './runs';

/** Begins to move a request's data from byte `offset` of it on. `toMemory`: the medium is read. */
export function moveRequest(r: Request, offset: u64, toMemory: bool): void {
  begin(toMemory);
  store<u32>(AT_MOVE_SOURCE, changetype<usize>(r));
  store<u64>(AT_MOVE_OFFSET, offset);
  if (readableEnd(r) != u64.MAX_VALUE) store<u32>(AT_MOVE_LIMITED, 1);
}

/** Begins to compare memory with a read request's data from byte `offset` of it on; moveDiffers() tells. */
export function moveCompare(r: Request, offset: u64): void {
  moveRequest(r, offset, true);
  store<u32>(AT_MOVE_TO_MEMORY, 0);
  store<u32>(AT_MOVE_COMPARES, 1);
}

/** Begins to move bytes of the model's own memory at `buffer`. */
export function moveBuffer(buffer: usize, toMemory: bool): void {
  begin(toMemory);
  store<u32>(AT_MOVE_SOURCE, 0);
  store<u32>(AT_MOVE_BUFFER, <u32>buffer);
}

/**
 * Moves the next `bytes` bytes to or from `address`. Returns DMA_OK, or what was wrong with the first byte
 * of any segment so far that met no RAM (those bytes read as ones, or are dropped).
 */
export function moveSegment(d: Device, address: u64, bytes: u32): u32 {
  if (load<u32>(AT_MOVE_LIMITED) == 0) append(d, address, bytes);
  else appendReadable(d, address, bytes);
  return load<u32>(AT_MOVE_FAULT);
}

function append(d: Device, address: u64, bytes: u32): void {
  const direction = load<u32>(AT_MOVE_TO_MEMORY) != 0 ? DMA_WRITE : DMA_READ;
  while (bytes > 0) {
    const n = dmaRuns(d, address, bytes, direction);
    store<u32>(AT_MOVE_PENDING_BYTES, load<u32>(AT_MOVE_PENDING_BYTES) + n);
    address += n;
    bytes -= n;
    if (bytes > 0) flush();
  }
}

/** As append(), as far as the medium has data: what cannot be read never reaches memory. */
function appendReadable(d: Device, address: u64, bytes: u32): void {
  if (load<u32>(AT_MOVE_STATUS) != MEDIA_OK) return;
  const r = changetype<Request>(<usize>load<u32>(AT_MOVE_SOURCE));
  const at = load<u64>(AT_MOVE_OFFSET) + load<u32>(AT_MOVE_PENDING_BYTES);
  const end = readableEnd(r);
  const good: u32 = at >= end ? 0 : <u32>min(<u64>bytes, end - at);
  append(d, address, good);
  if (good == bytes) return;
  flush();
  store<u32>(AT_MOVE_STATUS, reachLimit(r));
}

/** Moves the next `bytes` bytes to or from module memory at `at` (a sector buffer, on-chip memory). */
export function moveInside(at: usize, bytes: u32): void {
  if (bytes > 0 && load<u32>(AT_MOVE_TO_MEMORY) != 0) markDirty(at, bytes);
  if (!appendRun(at, bytes)) {
    flush();
    appendRun(at, bytes);
  }
  store<u32>(AT_MOVE_PENDING_BYTES, load<u32>(AT_MOVE_PENDING_BYTES) + bytes);
}

/** Moves what is still pending; MEDIA_OK, or the status of the medium. */
export function moveEnd(): u32 {
  flush();
  return load<u32>(AT_MOVE_STATUS);
}

/** Whether what moveCompare() began has found a difference; valid after moveEnd(). */
export function moveDiffers(): bool {
  return load<u32>(AT_MOVE_DIFFERS) != 0;
}

/** The first fault that a segment met, DMA_OK when there was none. */
export function moveFault(): u32 {
  return load<u32>(AT_MOVE_FAULT);
}

function begin(toMemory: bool): void {
  store<u32>(AT_MOVE_TO_MEMORY, toMemory ? 1 : 0);
  store<u32>(AT_MOVE_RUNS, 0);
  store<u32>(AT_MOVE_PENDING_BYTES, 0);
  store<u32>(AT_MOVE_STATUS, MEDIA_OK);
  store<u32>(AT_MOVE_FAULT, DMA_OK);
  store<u32>(AT_MOVE_LIMITED, 0);
  store<u32>(AT_MOVE_COMPARES, 0);
  store<u32>(AT_MOVE_DIFFERS, 0);
  store<u32>(AT_MOVE_EXTERNAL, 0);
}

function flush(): void {
  const runs = load<u32>(AT_MOVE_RUNS);
  const bytes = load<u32>(AT_MOVE_PENDING_BYTES);
  store<u32>(AT_MOVE_RUNS, 0);
  store<u32>(AT_MOVE_PENDING_BYTES, 0);
  if (bytes == 0) return;
  const toMemory = load<u32>(AT_MOVE_TO_MEMORY) != 0;
  const source = load<u32>(AT_MOVE_SOURCE);
  if (source == 0) {
    const buffer: usize = load<u32>(AT_MOVE_BUFFER);
    if (!toMemory) markDirty(buffer, bytes);
    copyRuns(buffer, runs, bytes, toMemory);
    store<u32>(AT_MOVE_BUFFER, <u32>buffer + bytes);
    return;
  }
  const offset = load<u64>(AT_MOVE_OFFSET);
  store<u64>(AT_MOVE_OFFSET, offset + bytes);
  if (load<u32>(AT_MOVE_STATUS) != MEDIA_OK) return;
  const r = changetype<Request>(<usize>source);
  store<u32>(
    AT_MOVE_STATUS,
    load<u32>(AT_MOVE_COMPARES) != 0
      ? compareRuns(r, offset, runs)
      : requestTransfer(r, offset, bytes, runs, toMemory),
  );
}

/** Compares the runs with the medium, a page at a time: the page that nobody reads takes the medium's side. */
function compareRuns(r: Request, offset: u64, runs: u32): u32 {
  for (let i: u32 = 0; i < runs; i++) {
    const run: usize = AT_RUNS + i * RUN_STRIDE;
    const at: usize = load<u32>(run);
    const address = addressOfRun(i);
    const bytes = load<u32>(run, 4);
    for (let done: u32 = 0, n: u32 = 0; done < bytes; done += n, offset += n) {
      n = min<u32>(bytes - done, PAGE_BYTES);
      // The first entry is free: it was read in the first round.
      store<u32>(AT_RUNS, AT_NOWHERE);
      store<u32>(AT_RUNS, n, 4);
      const status = requestTransfer(r, offset, n, 1, true);
      if (status != MEDIA_OK) return status;
      const memoryAt = bytesOfRun(at, address, done, n);
      if (memory.compare(AT_NOWHERE, memoryAt, n) != 0) store<u32>(AT_MOVE_DIFFERS, 1);
    }
  }
  return MEDIA_OK;
}
