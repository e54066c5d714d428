// One port of the AHCI controller of q35, driven through the protocol.

import type { Client } from './client.ts';
import { PciDevice, Places } from './pci.ts';

export interface AhciCommand {
  readonly command: number;
  readonly lba?: number;
  readonly sectors?: number;
  readonly write?: boolean;
  readonly packet?: Uint8Array;
  /** PACKET by DMA. */
  readonly dma?: boolean;
  /** Where the data go; default: memory of the port's own. */
  readonly buffer?: number;
  readonly bytes?: number;
  readonly queued?: boolean;
}

const PORT_BASE = 0x100;
const PORT_BYTES = 0x80;
export const PX = {
  IS: 0x10,
  IE: 0x14,
  CMD: 0x18,
  TFD: 0x20,
  SIG: 0x24,
  SSTS: 0x28,
  SERR: 0x30,
  SACT: 0x34,
  CI: 0x38,
};

/** RAM that a port uses. */
interface Memory {
  readonly list: number;
  readonly received: number;
  readonly table: number;
  readonly buffer: number;
}

export class AhciPort {
  readonly client: Client;
  readonly base: number;
  readonly #memory: Memory;

  private constructor(client: Client, base: number, memory: Memory) {
    this.client = client;
    this.base = base;
    this.#memory = memory;
  }

  get buffer(): number {
    return this.#memory.buffer;
  }

  /** Brings the controller and port `number` up. */
  static async start(client: Client, number = 0): Promise<AhciPort> {
    const pci = new PciDevice(client, new Places(), 0x1f, 2);
    const { base } = await pci.map(5);
    await pci.enable();
    const { places } = pci;
    const memory = {
      list: places.alloc(4096),
      received: places.alloc(4096),
      table: places.alloc(4096),
      buffer: places.alloc(1 << 20),
    };
    const port = new AhciPort(client, base + PORT_BASE + number * PORT_BYTES, memory);
    await client.store('l', base + 4, 0x80000002);
    await port.set(0x00, memory.list);
    await port.set(0x08, memory.received);
    await port.set(PX.SERR, 0xffffffff);
    await port.set(PX.IE, 0xffffffff);
    await port.set(PX.CMD, 0x11);
    return port;
  }

  /** The same registers and memory behind another process's sockets. */
  on(client: Client): AhciPort {
    return new AhciPort(client, this.base, this.#memory);
  }

  get(at: number): Promise<number> {
    return this.client.load('l', this.base + at);
  }

  set(at: number, value: number): Promise<void> {
    return this.client.store('l', this.base + at, value);
  }

  /** Writes a command's structures and issues it. */
  async issue(command: AhciCommand): Promise<void> {
    const { sectors = 1, write = false, packet, queued = false, dma = false } = command;
    const { list, table } = this.#memory;
    const bytes = command.bytes ?? sectors * 512;
    // A packet has the limit of its pieces where other commands have an address.
    const lba = packet === undefined ? (command.lba ?? 0) : Math.min(bytes, 0xfffe) * 256;
    const fis = Buffer.alloc(64);
    fis.set([0x27, 0x80, command.command, queued ? sectors & 0xff : dma ? 1 : 0]);
    fis.writeUInt32LE((lba & 0xffffff) + 0x40000000, 4);
    fis.writeUInt32LE(Math.floor(lba / 2 ** 24) % 2 ** 24, 8);
    if (queued) fis[11] = sectors >> 8;
    else fis.writeUInt16LE(sectors & 0xffff, 12);
    await this.client.write(table, fis);
    if (packet !== undefined) await this.client.write(table + 0x40, packet);
    const prd = Buffer.alloc(16);
    prd.writeUInt32LE(command.buffer ?? this.buffer, 0);
    prd.writeUInt32LE(Math.max(0, bytes - 1), 12);
    await this.client.write(table + 0x80, prd);
    const header = Buffer.alloc(32);
    header.writeUInt32LE(
      5 | (write ? 0x40 : 0) | (packet === undefined ? 0 : 0x20) | (bytes === 0 ? 0 : 1 << 16),
      0,
    );
    header.writeUInt32LE(table, 8);
    await this.client.write(list, header);
    await this.set(PX.IS, 0xffffffff);
    if (queued) await this.set(PX.SACT, 1);
    await this.set(PX.CI, 1);
  }

  /**
   * Issues a command and looks that it is over; returns the task file: status, and error above it. One that failed keeps
   * its bit of PxCI until the port is stopped; it is started again.
   */
  async run(command: AhciCommand): Promise<number> {
    await this.issue(command);
    const taskFile = await this.get(PX.TFD);
    const failed = (taskFile & 1) !== 0;
    if (((await this.get(PX.CI)) & 1) !== (failed ? 1 : 0))
      throw new Error('PxCI does not agree with the status');
    if (!failed) return taskFile;
    await this.set(PX.CMD, 0x10);
    await this.set(PX.CMD, 0x11);
    return taskFile;
  }
}
