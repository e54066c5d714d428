// PCI as device tests see it: configuration mechanism #1, BARs that are sized and placed by the client, memory from 1 MiB on.

import type { Client } from './client.ts';

const MMIO = 0xe0000000;
const PORTS = 0xc000;

/** What a client gives out: addresses for BARs, and RAM. */
export class Places {
  mmio = MMIO;
  ports = PORTS;
  ram = 0x100000;

  /** `bytes` of RAM, aligned to a page. */
  alloc(bytes: number): number {
    const at = this.ram;
    this.ram += Math.ceil(bytes / 4096) * 4096;
    return at;
  }
}

export class PciDevice {
  readonly client: Client;
  readonly places: Places;
  readonly #devfn: number;

  constructor(client: Client, places: Places, slot: number, fn = 0) {
    this.client = client;
    this.places = places;
    this.#devfn = slot * 8 + fn;
  }

  async config(at: number, letter: 'b' | 'w' | 'l' = 'l'): Promise<number> {
    await this.client.out('l', 0xcf8, 0x80000000 + this.#devfn * 256 + at);
    return this.client.in(letter, 0xcfc);
  }

  async setConfig(at: number, value: number, letter: 'b' | 'w' | 'l' = 'l'): Promise<void> {
    await this.client.out('l', 0xcf8, 0x80000000 + this.#devfn * 256 + at);
    await this.client.out(letter, 0xcfc, value);
  }

  /** Sizes BAR `i` and gives it an address. */
  async map(i: number): Promise<{ readonly base: number; readonly bytes: number; readonly io: boolean }> {
    const at = 0x10 + 4 * i;
    await this.setConfig(at, 0xffffffff);
    const mask = await this.config(at);
    const io = (mask & 1) !== 0;
    const bytes = -(mask & (io ? ~3 : ~15)) >>> 0;
    const key = io ? 'ports' : 'mmio';
    const base = Math.ceil(this.places[key] / bytes) * bytes;
    this.places[key] = base + bytes;
    await this.setConfig(at, base);
    return { base, bytes, io };
  }

  /** I/O, memory and bus mastering on. */
  enable(): Promise<void> {
    return this.setConfig(4, 7, 'w');
  }
}
