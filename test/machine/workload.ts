// A machine with a controller, its driver and disks of a kind, and random commands by seed: what snapshots are tried on.

import type { ControllerKind } from '../../src/controllers/description.ts';
import { attachDriver } from '../../src/drivers/attach.ts';
import type { Driver, DriverHost } from '../../src/drivers/driver.ts';
import { Random } from '../../src/kernel/random.ts';
import {
  type Controller,
  createMachine,
  type Flavour,
  loadModule,
  type Machine,
} from '../../src/machine/index.ts';
import type { Medium } from '../../src/media/index.ts';
import { type AnyEvent, formatEvent } from '../../src/trace/index.ts';
import { fill, TestCommand, TestHost } from '../drivers/host.ts';
import { record, type Step } from './recorder.ts';

export const PAGE = 4096;
export const DISK_BYTES = 2 ** 19;
const LOW_BYTES = 3 * 2 ** 20;
/** Pages that commands move data to and from. */
const DATA = 0x10000;
const DATA_PAGES = 96;
const DRIVER_MEMORY = 0x100000;
const DEPTH = 8;

export interface Row {
  readonly kind: ControllerKind;
  readonly profile?: string;
  /** Where disks go: place and unit. */
  readonly places: readonly (readonly [number, number])[];
  /** Default: the driver as everybody attaches it. */
  readonly attach?: (host: DriverHost) => Driver;
}

/** How a row's disks are made; a medium of null is the module's own. */
export interface Variant {
  readonly name: string;
  readonly faults: boolean;
  readonly medium: (() => Medium) | null;
  /** Neither guard nor trace. */
  readonly unwatched?: boolean;
}

export interface Rig {
  readonly machine: Machine;
  readonly controller: Controller;
  readonly events: string[];
}

const modules: Partial<Record<Flavour, Promise<WebAssembly.Module>>> = {};

/** A machine of the row's and variant's shape, whose events go to `events`. */
export async function makeRig(
  row: Row,
  variant: Variant,
  events: string[] = [],
  flavour: Flavour = 'debug',
): Promise<Rig> {
  modules[flavour] ??= loadModule(flavour);
  const machine = await createMachine({
    module: await modules[flavour],
    ram: [
      { base: 0, bytes: LOW_BYTES },
      { base: 2 ** 32, bytes: 2 ** 16 },
    ],
    diskBytes: 2 * DISK_BYTES,
    guard: variant.unwatched === true ? false : { mappings: true, capacity: 256 },
  });
  const controller = machine.addController({ kind: row.profile ?? row.kind });
  for (const [i, [place, unit]] of row.places.entries()) {
    const medium = variant.medium?.();
    const size = medium === undefined ? { bytes: DISK_BYTES } : { medium };
    controller.attach(machine.addDisk({ ...size, latencyNs: 5000 + 3000 * i }), place, unit);
  }
  if (variant.faults) addFaults(machine);
  if (variant.unwatched !== true) {
    machine.tracer.listen((event: AnyEvent) => {
      events.push(formatEvent(event));
    });
  }
  return { machine, controller, events };
}

function addFaults(machine: Machine): void {
  for (const disk of machine.disks) {
    machine.addFault({ disk, kind: 'delay', skip: 3, argument: 70_000 });
    machine.addFault({ disk, kind: 'error', operations: ['read', 'write'], first: 100, last: 140, skip: 2 });
    machine.addFault({ disk, kind: 'torn', first: 300, last: 400, skip: 1, times: 3, argument: 700 });
    machine.addFault({ disk, kind: 'error', operations: ['flush'], skip: 1, times: 2 });
  }
}

/** Lets the driver work through `commands` random commands; what the CPU did meanwhile. */
export async function work(row: Row, rig: Rig, seed: number, commands: number): Promise<Step[]> {
  const { machine, controller } = rig;
  const steps = record(machine, controller);
  const random = new Random(seed);
  const driver = (row.attach ?? attachDriver)(new TestHost(machine, controller, DRIVER_MEMORY));
  machine.guard.map(controller, DATA, (DATA_PAGES - 4) * PAGE, 'both');
  const open: TestCommand[] = [];
  const depth = Math.min(DEPTH, driver.limits.queueDepth);
  for (let sent = 0; sent < commands || open.some(({ ended }) => ended === 0); ) {
    let room = Math.min(random.below(depth + 1), commands - sent);
    for (; room > 0 && open.length < depth; room--) {
      const command = randomCommand(machine, driver, random);
      if (!driver.submit(command)) break;
      open.push(command);
      sent++;
    }
    driver.kick();
    for (let i = random.below(6); i >= 0; i--) {
      const due = machine.nextDeadline();
      const until = random.chance(0.3) ? machine.now() + random.below(9000) : due;
      while (machine.advance(Math.min(until, due)) === 'media') await machine.waitMedia();
      serve(machine, controller, driver);
    }
    for (let i = open.length - 1; i >= 0; i--) if (open[i]?.ended !== 0) open.splice(i, 1);
  }
  machine.tracer.collect();
  return steps;
}

function serve(machine: Machine, controller: Controller, driver: Driver): void {
  const mask = controller.lines.reduce((bits, line) => bits | (1 << line), 0);
  while (machine.takeMsi() >= 0) driver.interrupt();
  if ((machine.irqLines & mask) !== 0) driver.interrupt();
}

/** A command of whole pages but the first and the last, so that every board takes it. */
function randomCommand(machine: Machine, driver: Driver, random: Random): TestCommand {
  const disk = random.below(driver.disks.length);
  const op = (['read', 'write', 'read', 'write', 'flush', 'discard'] as const)[random.below(6)] ?? 'read';
  const sectors = 1 + random.below(op === 'discard' ? 64 : 40);
  const lba = random.below(DISK_BYTES / 512 - sectors);
  const command = new TestCommand({ op, disk, lba, sectors });
  if (op === 'flush' || op === 'discard') return command;
  command.direction = op;
  const segments: { address: number; bytes: number }[] = [];
  for (let left = sectors * 512; left > 0; ) {
    const page = DATA + random.below(DATA_PAGES) * PAGE;
    const from = segments.length === 0 ? random.below(8) * 512 : 0;
    const bytes = Math.min(left, PAGE - from);
    segments.push({ address: page + from, bytes });
    left -= bytes;
  }
  if (op === 'write')
    for (const { address, bytes } of segments) machine.memory.writeBytes(address, fill(random, bytes));
  return command.setSegments(segments);
}
