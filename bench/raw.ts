// Raw `memory.copy`: what every row is measured against. A small module on a memory of its own that copies
// between the same number of bytes in the same pattern as the row that it stands beside.

import asc from 'assemblyscript/asc';

const SOURCE = `
export function copy(to: usize, from: usize, bytes: u32, stride: u32, span: u32, times: u32): void {
  let at: u32 = 0;
  for (let i: u32 = 0; i < times; i++) {
    memory.copy(to + at, from + at, bytes);
    at += stride;
    if (at + bytes > span) at = 0;
  }
}

export function scatter(to: usize, from: usize, bytes: u32, span: u32, times: u32): void {
  let at: u32 = 0;
  const mask: u32 = (span >>> 12) - 1;
  for (let i: u32 = 0; i < times; i++) {
    for (let end = at + bytes; at < end; at += 4096) {
      memory.copy(to + (((((at >>> 12) * 40503) & mask)) << 12), from + at, 4096);
    }
    if (at + bytes > span) at = 0;
  }
}`;

export interface RawCopy {
  /** Copies `bytes` bytes `times` times, `stride` apart within the first `within` bytes of the span. */
  copy(bytes: number, stride: number, times: number, within?: number): void;
  /** Copies `bytes` bytes `times` times, one behind the other, to pages that are anywhere. */
  scatter(bytes: number, times: number): void;
}

interface Exports {
  copy(to: number, from: number, bytes: number, stride: number, span: number, times: number): void;
  scatter(to: number, from: number, bytes: number, span: number, times: number): void;
}

/** Compiles the module; the memory holds two spans of `span` bytes, a power of two. */
export async function rawCopy(span: number): Promise<RawCopy> {
  const { binary, error, stderr } = await asc.compileString(SOURCE, {
    optimizeLevel: 3,
    runtime: 'stub',
    importMemory: true,
  });
  if (error !== null || binary === null) throw new Error(stderr.toString());
  const pages = Math.ceil((2 * span + 65536) / 65536);
  const memory = new WebAssembly.Memory({ initial: pages, maximum: pages });
  new Uint8Array(memory.buffer).fill(0x5a);
  const { instance } = await WebAssembly.instantiate(binary as BufferSource, { env: { memory } });
  const hw = instance.exports as unknown as Exports;
  const from = 65536;
  const to = from + span;
  return {
    copy: (bytes, stride, times, within = span) => hw.copy(to, from, bytes, stride, within, times),
    scatter: (bytes, times) => hw.scatter(to, from, bytes, span, times),
  };
}
