// Memory BARs. v86 has one handler for each 128 KiB of addresses; BARs are smaller and lie where BIOS and guest put
// them, several in a block too. What no BAR of ours decodes goes to whoever had the block before.

import type { V86Cpu } from './cpu.ts';

const BLOCK_SHIFT = 17;

/** A BAR where it decodes: `at` is the offset in it. */
export interface Window {
  readonly base: number;
  readonly bytes: number;
  read(at: number, size: 1 | 4): number;
  write(at: number, size: 1 | 2 | 4, value: number): void;
}

/** A block with windows of ours in it, and its handlers before there were any. */
interface Block {
  readonly windows: Window[];
  readonly read8: (address: number) => number;
  readonly read32: (address: number) => number;
  readonly write8: (address: number, value: number) => void;
  readonly write32: (address: number, value: number) => void;
}

export class MemoryMap {
  readonly #cpu: V86Cpu;
  readonly #blocks = new Map<number, Block>();

  constructor(cpu: V86Cpu) {
    this.#cpu = cpu;
    const write16 = cpu.mmap_write16.bind(cpu);
    // v86 halves these; a device may act on what it is told by one write (a queue's notification).
    cpu.mmap_write16 = (address, value) => {
      const window = this.#find(address);
      if (window === undefined) write16(address, value);
      else window.write((address >>> 0) - window.base, 2, value);
    };
  }

  /** Has `window` decode its addresses. Addresses that are RAM, or that the CPU does not have, are never asked for. */
  add(window: Window): void {
    const first = window.base >>> BLOCK_SHIFT;
    const last = (window.base + window.bytes - 1) >>> BLOCK_SHIFT;
    for (let number = first; number <= last; number++) {
      const block = this.#blocks.get(number) ?? this.#takeBlock(number);
      block.windows.unshift(window); // the newest first: BARs that are being sized lie over others for a moment
    }
  }

  remove(window: Window): void {
    for (const [number, block] of this.#blocks) {
      const i = block.windows.indexOf(window);
      if (i >= 0) block.windows.splice(i, 1);
      if (i >= 0 && block.windows.length === 0) this.#giveBack(number, block);
    }
  }

  #takeBlock(number: number): Block {
    const cpu = this.#cpu;
    const block: Block = {
      windows: [],
      read8: cpu.memory_map_read8[number] ?? (() => 0xff),
      read32: cpu.memory_map_read32[number] ?? (() => -1),
      write8: cpu.memory_map_write8[number] ?? (() => {}),
      write32: cpu.memory_map_write32[number] ?? (() => {}),
    };
    this.#blocks.set(number, block);
    const { windows } = block;
    cpu.memory_map_read8[number] = (address) => {
      const window = within(windows, address);
      return window === undefined ? block.read8(address) : window.read((address >>> 0) - window.base, 1);
    };
    cpu.memory_map_read32[number] = (address) => {
      const window = within(windows, address);
      return window === undefined ? block.read32(address) : window.read((address >>> 0) - window.base, 4) | 0;
    };
    cpu.memory_map_write8[number] = (address, value) => {
      const window = within(windows, address);
      if (window === undefined) block.write8(address, value);
      else window.write((address >>> 0) - window.base, 1, value);
    };
    cpu.memory_map_write32[number] = (address, value) => {
      const window = within(windows, address);
      if (window === undefined) block.write32(address, value);
      else window.write((address >>> 0) - window.base, 4, value);
    };
    return block;
  }

  #giveBack(number: number, block: Block): void {
    const cpu = this.#cpu;
    cpu.memory_map_read8[number] = block.read8;
    cpu.memory_map_read32[number] = block.read32;
    cpu.memory_map_write8[number] = block.write8;
    cpu.memory_map_write32[number] = block.write32;
    this.#blocks.delete(number);
  }

  #find(address: number): Window | undefined {
    const block = this.#blocks.get(address >>> BLOCK_SHIFT);
    return block === undefined ? undefined : within(block.windows, address);
  }
}

function within(windows: readonly Window[], address: number): Window | undefined {
  for (const window of windows)
    if ((address >>> 0) - window.base < window.bytes && address >>> 0 >= window.base) return window;
  return undefined;
}
