// A virtio-blk disk by its legacy interface, one request at a time.

import type { Client } from './client.ts';
import { PciDevice, Places } from './pci.ts';

const SIZE_AT = 0x0c;
const STATUS_AT = 0x12;
const ISR_AT = 0x13;
const CONFIG_AT = 0x14;
const MSIX_CONFIG_AT = 0x18;

export class VirtioDisk {
  readonly client: Client;
  readonly #io: number;
  readonly #ring: number;
  readonly #size: number;
  readonly #buffer: number;
  readonly #msix: boolean;
  #used = 0;
  /** Where a message goes. */
  readonly message: number;

  private constructor(client: Client, io: number, places: Places, size: number, msix: boolean) {
    this.client = client;
    this.#io = io;
    this.#size = size;
    this.#ring = places.alloc(16384);
    this.#buffer = places.alloc(16384);
    this.message = places.alloc(4096);
    this.#msix = msix;
  }

  static async start(client: Client, slot: number, msix = false): Promise<VirtioDisk> {
    const places = new Places();
    const pci = new PciDevice(client, places, slot);
    const io = (await pci.map(0)).base;
    await pci.enable();
    for (const status of [0, 1, 3]) await client.out('b', io + STATUS_AT, status);
    await client.out('l', io + 4, 0);
    await client.out('w', io + 0x0e, 0);
    const disk = new VirtioDisk(client, io, places, await client.in('w', io + SIZE_AT), msix);
    if (msix) await disk.#useMessages(pci);
    await client.out('l', io + 8, disk.#ring / 4096);
    await client.out('b', io + STATUS_AT, 7);
    return disk;
  }

  async #useMessages(pci: PciDevice): Promise<void> {
    const { base } = await pci.map(1);
    let at = await pci.config(0x34, 'b');
    while ((await pci.config(at, 'b')) !== 0x11) at = await pci.config(at + 1, 'b');
    await pci.setConfig(at + 2, 0x8000, 'w');
    const words = [this.message, 0, 0xbeef, 0];
    for (const [i, word] of words.entries()) await this.client.store('l', base + 16 + 4 * i, word);
    await this.client.out('w', this.#io + 0x16, 1);
  }

  async capacity(): Promise<number> {
    const at = this.#io + (this.#msix ? MSIX_CONFIG_AT : CONFIG_AT);
    return (await this.client.in('l', at)) + (await this.client.in('l', at + 4)) * 2 ** 32;
  }

  isr(): Promise<number> {
    return this.client.in('b', this.#io + ISR_AT);
  }

  /** A read (0) or write (1) of `data.length` bytes; returns the status byte. */
  async request(type: number, sector: number, data: Uint8Array): Promise<number> {
    const { client } = this;
    const header = Buffer.alloc(16);
    header.writeUInt32LE(type, 0);
    header.writeUInt32LE(sector, 8);
    await client.write(this.#buffer, Buffer.concat([header, data, Buffer.of(0xff)]));
    const descriptor = (at: number, bytes: number, flags: number, next: number): Buffer => {
      const buffer = Buffer.alloc(16);
      buffer.writeUInt32LE(this.#buffer + at, 0);
      buffer.writeUInt32LE(bytes, 8);
      buffer.writeUInt16LE(flags, 12);
      buffer.writeUInt16LE(next, 14);
      return buffer;
    };
    const chain = [
      descriptor(0, 16, 1, 1),
      descriptor(16, data.length, type === 0 ? 3 : 1, 2),
      descriptor(16 + data.length, 1, 2, 0),
    ];
    await client.write(this.#ring, Buffer.concat(chain));
    const available = this.#ring + 16 * this.#size;
    await client.store('w', available + 4 + 2 * (this.#used % this.#size), 0);
    await client.store('w', available + 2, ++this.#used);
    await client.out('w', this.#io + 0x10, 0);
    return client.load('b', this.#buffer + 16 + data.length);
  }

  data(bytes: number): Promise<Buffer> {
    return this.client.read(this.#buffer + 16, bytes);
  }
}
