// A controller with its driver over any disk, as far as media can tell: commands in, their ends out, and the
// trace of everything that the hardware did.

import { attachDriver } from '../../src/drivers/attach.ts';
import type { Driver, DriverCommand } from '../../src/drivers/driver.ts';
import { parseSense } from '../../src/drivers/scsi.ts';
import {
  type Controller,
  createMachine,
  type Disk,
  type DiskOptions,
  type Machine,
} from '../../src/machine/index.ts';
import { type AnyEvent, formatEvent } from '../../src/trace/index.ts';
import { TestCommand, TestHost } from '../drivers/host.ts';

export const KINDS = ['aha1542', 'ahci', 'piix-ide'] as const;
export type Kind = (typeof KINDS)[number] | 'lsi53c895a' | 'nvme' | 'virtio-blk';

/** Memory for the data of commands: SLOT_BYTES for each. */
const DATA = 0x200000;
const SLOT_BYTES = 0x20000;
const SLOTS = 16;
const DRIVER_MEMORY = 0x800000;

/** One command of the list that run() works through. */
export interface Work {
  readonly op: 'read' | 'write' | 'flush' | 'discard';
  readonly disk?: number;
  readonly lba?: number;
  readonly sectors?: number;
  /** What is written. */
  readonly data?: Uint8Array;
}

/** How a command ended. */
export interface End {
  readonly status: DriverCommand['status'];
  /** Virtual time. */
  readonly time: number;
  /** Sector of the error; −1 where none was named. */
  readonly badSector: number;
  readonly senseKey: number;
  /** What is in memory where a read went. */
  readonly data: Uint8Array;
}

export class Rig {
  readonly trace: string[] = [];
  readonly machine: Machine;
  readonly controller: Controller;
  readonly driver: Driver;
  readonly disk: Disk;
  /** Commands that the driver has not taken yet. */
  readonly #waiting: Command[] = [];

  private constructor(machine: Machine, controller: Controller, driver: Driver, disk: Disk) {
    this.machine = machine;
    this.controller = controller;
    this.driver = driver;
    this.disk = disk;
    machine.tracer.listen((event: AnyEvent) => {
      this.trace.push(formatEvent(event));
    });
  }

  /** `second`: another disk, in the next place. */
  static async create(kind: Kind, disk: DiskOptions, second?: DiskOptions): Promise<Rig> {
    const machine = await createMachine({
      flavour: 'debug',
      ram: [{ base: 0, bytes: 2 ** 24 }],
      diskBytes: 2 ** 20,
      guard: { mappings: true },
    });
    const controller = machine.addController({ kind });
    const made = machine.addDisk(disk);
    controller.attach(made, 0);
    if (second !== undefined) controller.attach(machine.addDisk(second), 1);
    const host = new TestHost(machine, controller, DRIVER_MEMORY);
    const driver = attachDriver(host);
    machine.guard.map(controller, DATA, SLOTS * SLOT_BYTES, 'both');
    return new Rig(machine, controller, driver, made);
  }

  /** Hands a batch of up to 16 commands to the driver, as many as it takes now, and rings the doorbell. */
  submit(works: readonly Work[]): Command[] {
    const commands = works.map((work, i) => this.prepare(work, i));
    this.start(...commands);
    return commands;
  }

  /** A command whose data lie in the memory of number `place`, to be changed before start(). */
  prepare(work: Work, place = 0): Command {
    return new Command(this, work, DATA + place * SLOT_BYTES);
  }

  start(...commands: Command[]): void {
    this.#waiting.push(...commands);
    this.#feed();
  }

  #feed(): void {
    while (this.#waiting[0] !== undefined && this.driver.submit(this.#waiting[0])) this.#waiting.shift();
    this.driver.kick();
  }

  /** One step of the hardware, with its interrupt; false when a medium has to wait for the host. */
  step(): boolean {
    if (this.machine.advance(this.machine.nextDeadline()) === 'media') return false;
    if ((this.machine.irqLines & (1 << this.controller.line)) !== 0) this.driver.interrupt();
    this.machine.tracer.collect();
    if (this.#waiting.length > 0) this.#feed();
    return true;
  }

  /** Works through a batch, whatever the medium; how each ended, in the batch's order. */
  async run(...works: Work[]): Promise<End[]> {
    const commands = this.submit(works);
    while (commands.some((command) => command.end === null)) {
      if (!this.step()) await this.machine.waitMedia();
    }
    return commands.map((command) => command.end as End);
  }

  /** Works through one command that prepare() made. */
  async finish(command: Command): Promise<End> {
    this.start(command);
    while (command.end === null) if (!this.step()) await this.machine.waitMedia();
    return command.end;
  }

  async one(work: Work): Promise<End> {
    const [end] = await this.run(work);
    return end as End;
  }
}

export class Command extends TestCommand {
  end: End | null = null;
  readonly #rig: Rig;
  readonly #address: number;
  readonly #bytes: number;

  constructor(rig: Rig, work: Work, address: number) {
    const sectors = work.sectors ?? 0;
    super({
      op: work.op,
      disk: work.disk ?? 0,
      lba: work.lba ?? 0,
      sectors,
      direction: work.op === 'read' || work.op === 'write' ? work.op : 'none',
    });
    this.#rig = rig;
    this.#address = address;
    const moves = this.direction !== 'none';
    this.#bytes = moves ? sectors * rig.disk.sectorBytes : 0;
    const { memory } = rig.machine;
    memory.fill(address, 0xee, SLOT_BYTES);
    if (work.data !== undefined) memory.writeBytes(address, work.data);
    // Three pieces, the second of which is elsewhere in the slot's memory.
    const cut = Math.floor(this.#bytes / 3 / 4) * 4;
    if (cut === 0) this.setSegments(moves ? [{ address, bytes: this.#bytes }] : []);
    else {
      this.setSegments([
        { address, bytes: cut },
        { address: address + cut, bytes: cut },
        { address: address + 2 * cut, bytes: this.#bytes - 2 * cut },
      ]);
    }
  }

  override done(): void {
    super.done();
    const { machine } = this.#rig;
    const sense = this.senseLength > 0 ? parseSense(this.sense) : null;
    this.end = {
      status: this.status,
      time: machine.now(),
      badSector: sense?.information ?? -1,
      senseKey: sense?.key ?? 0,
      data: machine.memory.readBytes(this.#address, this.#bytes),
    };
  }
}
