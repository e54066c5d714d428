// A v86 machine that executes nothing: the test is its CPU, at the same doors that v86's own instructions go through.

import { readFileSync } from 'node:fs';
import { V86 } from 'v86';
import type { EmbeddedController } from '../../src/embed/index.ts';
import { cpuOf, type V86Cpu } from '../../src/v86/cpu.ts';
import { type AttachOptions, attach } from '../../src/v86/index.ts';
import { root } from '../run/suite.ts';

const CONFIG_ADDRESS = 0xcf8;
const CONFIG_DATA = 0xcfc;
export const MEMORY_BYTES = 32 << 20;

/** What v86's CPU does with ports and memory, which its types do not declare. */
interface Doors {
  readonly io: {
    port_read8(port: number): number;
    port_read16(port: number): number;
    port_read32(port: number): number;
    port_write8(port: number, value: number): void;
    port_write16(port: number, value: number): void;
    port_write32(port: number, value: number): void;
  };
  mmap_read8(address: number): number;
  mmap_read32(address: number): number;
  mmap_write8(address: number, value: number): void;
  mmap_write16(address: number, value: number): void;
  mmap_write32(address: number, value: number): void;
}

export class IdleMachine {
  readonly emulator: V86;
  readonly cpu: V86Cpu & Doors;

  private constructor(emulator: V86) {
    this.emulator = emulator;
    this.cpu = cpuOf(emulator) as V86Cpu & Doors;
  }

  static async create(hda = false): Promise<IdleMachine> {
    const emulator = new V86({
      wasm_path: `${root}node_modules/v86/build/v86.wasm`,
      memory_size: MEMORY_BYTES,
      vga_memory_size: 1 << 20,
      autostart: false,
      disable_keyboard: true,
      disable_mouse: true,
      disable_speaker: true,
      ...(hda ? { hda: { buffer: new ArrayBuffer(1 << 20) } } : {}),
    });
    await new Promise<void>((resolve) => emulator.add_listener('emulator-ready', () => resolve()));
    return new IdleMachine(emulator);
  }

  attach(options: Partial<AttachOptions> & Pick<AttachOptions, 'controller'>): Promise<EmbeddedController> {
    const wasm = readFileSync(`${root}dist/backplane.debug.wasm`);
    return attach(this.emulator, { media: { bytes: 1 << 20 }, wasm, ...options });
  }

  // Configuration mechanism #1.

  configRead(slot: number, at: number): number {
    this.cpu.io.port_write32(CONFIG_ADDRESS, 0x80000000 | (slot << 11) | (at & 0xfc) | 0);
    return this.cpu.io.port_read32(CONFIG_DATA) >>> 0;
  }

  configWrite(slot: number, at: number, size: 1 | 2 | 4, value: number): void {
    const { io } = this.cpu;
    io.port_write32(CONFIG_ADDRESS, 0x80000000 | (slot << 11) | (at & 0xfc) | 0);
    const port = CONFIG_DATA + (at & 3);
    if (size === 4) io.port_write32(port, value | 0);
    else if (size === 2) io.port_write16(port, value);
    else io.port_write8(port, value);
  }

  /** The interrupt requests that v86's two controllers hold, bit 0 for IRQ 0. */
  get requests(): number {
    const at = (address: number) => new Uint8Array(this.cpu.wasm_memory.buffer, address, 13)[3] ?? 0;
    return at(this.cpu.get_pic_addr_master()) | (at(this.cpu.get_pic_addr_slave()) << 8);
  }
}
