// What the tests of snapshots share: controllers with their drivers, and a run that is stopped at random moments,
// saved, disturbed, put back and continued. The hardware has to do the same as in a run without, event for event. The
// CPU's part is replayed (recorder.ts), so that drivers need not be put back.

import {
  ARENA_BASE,
  AT_ARENA_TOP,
  AT_DIRTY_COUNT,
  AT_EVENT_COUNT,
  AT_EVENTS,
  AT_FAULTS,
  AT_NOWHERE,
  AT_ONES,
  AT_RUNS,
  AT_TRACE,
  EVENT_MAX,
  EVENT_STRIDE,
  PAGE_BYTES,
  TRACE_MAX,
  TRACE_STRIDE,
} from '../../assembly/bus/layout.ts';
import { attachNvme, attachVirtioBlk } from '../../src/drivers/index.ts';
import { Random } from '../../src/kernel/random.ts';
import { type Machine, Snapshot } from '../../src/machine/index.ts';
import { type RamMedium, ramMedium } from '../../src/media/index.ts';
import { contentOf, turn } from '../media/help.ts';
import { assert } from '../run/suite.ts';
import { replay, type Step } from './recorder.ts';
import { DISK_BYTES, makeRig, type Rig, type Row, type Variant, work } from './workload.ts';

const VECTOR = 0x40;
/** A new controller needs a row here, and no more. */
export const ROWS: readonly Row[] = [
  {
    kind: 'aha1542',
    places: [
      [0, 0],
      [1, 0],
    ],
  },
  {
    kind: 'piix-ide',
    places: [
      [0, 0],
      [1, 0],
    ],
  },
  {
    kind: 'ahci',
    places: [
      [0, 0],
      [1, 0],
    ],
  },
  {
    kind: 'nvme',
    places: [
      [0, 0],
      [1, 0],
    ],
    attach: (host) => attachNvme(host, { vector: VECTOR }),
  },
  {
    kind: 'lsi53c895a',
    places: [
      [0, 0],
      [1, 0],
    ],
  },
  { kind: 'virtio-blk', places: [[0, 0]], attach: (host) => attachVirtioBlk(host, { vector: VECTOR }) },
];

const COMMANDS = 45;
const MOMENTS = 80;

const PATTERN = Uint8Array.from({ length: DISK_BYTES }, (_, i) => (i * 7) ^ (i >>> 9));

/** A disk that nobody writes, with something on it. */
export function patterned(): RamMedium {
  const medium = ramMedium(DISK_BYTES);
  medium.writev(0, [PATTERN]);
  return medium;
}

/** The arena but for what lives within one call and what is behind the ends of tables. */
export function arenaOf(machine: Machine): Buffer {
  const words = new Uint32Array(machine.buffer);
  const top = words[AT_ARENA_TOP >>> 2] ?? 0;
  const bytes = Buffer.from(new Uint8Array(machine.buffer, 0, top).slice());
  const events = AT_EVENTS + (words[AT_EVENT_COUNT >>> 2] ?? 0) * EVENT_STRIDE;
  bytes.fill(0, 0, ARENA_BASE); // static data of the flavour
  bytes.fill(0, AT_DIRTY_COUNT, AT_DIRTY_COUNT + 4);
  bytes.fill(0, AT_RUNS, AT_ONES);
  bytes.fill(0, AT_NOWHERE, AT_NOWHERE + PAGE_BYTES);
  bytes.fill(0, events, AT_EVENTS + EVENT_MAX * EVENT_STRIDE);
  bytes.fill(0, AT_FAULTS, AT_TRACE);
  bytes.fill(0, AT_TRACE, AT_TRACE + TRACE_MAX * TRACE_STRIDE);
  return bytes;
}

/** Everything by which two runs can differ. */
export async function outcome({ machine, controller, events }: Rig): Promise<Record<string, unknown>> {
  machine.tracer.collect();
  const disks = await Promise.all(
    machine.disks.map(async (disk) =>
      disk.medium === null ? disk.read(0, disk.bytes) : contentOf(disk.medium),
    ),
  );
  return {
    events: events.join('\n'),
    time: machine.now(),
    ram: machine.memory.regions.map(({ base, bytes }) => hash(machine.memory.readBytes(base, bytes))),
    disks: disks.map(hash),
    counters: controller.counters,
    diskCounters: machine.disks.map((disk) => disk.counters),
    findings: machine.guard.findings(),
    lost: machine.tracer.lost,
    failures: machine.mediaFailures,
    lines: machine.irqLines,
    changes: machine.irqChanges,
  };
}

export function hash(bytes: Uint8Array): number {
  let sum = 0x811c9dc5;
  for (const word of new Uint32Array(bytes.buffer, bytes.byteOffset, bytes.length >>> 2)) {
    sum = Math.imul(sum ^ word, 0x01000193);
  }
  return sum >>> 0;
}

async function run(rig: Rig, steps: readonly Step[]): Promise<void> {
  for (const step of steps) {
    while (!replay(rig.machine, rig.controller, step)) await rig.machine.waitMedia();
  }
}

/** Anything but what would come next. */
function disturb({ machine, controller }: Rig, steps: readonly Step[], random: Random): void {
  const { memory, guard } = machine;
  const sort = random.below(4);
  if (sort === 0) {
    for (const step of steps.slice(0, random.below(60))) if (!replay(machine, controller, step, false)) break;
  } else if (sort === 1) {
    for (let i = random.below(20); i >= 0; i--) {
      controller.write32(random.below(2), 4 * random.below(64), random.next());
      controller.read32(random.below(2), 4 * random.below(64));
    }
    memory.fill(random.below(2 ** 20), random.below(256), random.below(2 ** 18));
    machine.advance(machine.now() + random.below(200_000));
  } else if (sort === 2) {
    controller.reset('power-on');
    controller.detachDisk(0);
    guard.map(controller, 0x5000 + random.below(4096), random.below(9000), 'read');
    for (const { handle } of [...guard.live].slice(0, random.below(3))) guard.unmap(handle);
    machine.advance(machine.now() + 5_000_000);
  } else {
    machine.disks[0]?.medium ?? machine.disks[0]?.write(random.below(4096), new Uint8Array(5000).fill(0xdb));
    controller.configWrite(4, 2, random.below(8));
    machine.bus.writePort(0xcf8, 4, random.next());
    memory.copy(random.below(2 ** 19), random.below(2 ** 19), random.below(2 ** 17));
    guard.clear();
  }
}

class Stopper {
  moments = 0;
  /** Moments at which commands were in flight; what media were at work on at all moments. */
  busy = 0;
  readonly asked = { read: 0, store: 0 };
  rig: Rig;
  readonly #row: Row;
  readonly #variant: Variant;
  readonly #random: Random;
  #before: Snapshot | null = null;

  constructor(row: Row, variant: Variant, rig: Rig, random: Random) {
    this.#row = row;
    this.#variant = variant;
    this.rig = rig;
    this.#random = random;
  }

  /** Saves, disturbs and puts back; sometimes into a new machine, sometimes by way of bytes. */
  async stop(ahead: readonly Step[]): Promise<void> {
    const random = this.#random;
    const { events } = this.rig;
    const snapshot = this.rig.machine.save();
    const known = events.length;
    this.#count(snapshot);
    const arena = random.chance(0.3) ? arenaOf(this.rig.machine) : null;
    const sort = random.below(12);
    if (sort === 0) {
      const read = Snapshot.fromBytes(snapshot.toBytes());
      this.rig = await makeRig(this.#row, this.#variant, events, 'release');
      this.rig.machine.restore(read);
    } else if (sort === 1) {
      this.rig = await makeRig(this.#row, this.#variant, events);
      this.rig.machine.restore(snapshot);
    } else {
      disturb(this.rig, ahead, random);
      if (sort === 2 && this.#before !== null) {
        this.rig.machine.restore(this.#before);
        disturb(this.rig, ahead, random);
      }
      if (random.chance(0.3)) await turn();
      if (random.chance(0.3)) this.rig.machine.save();
      this.rig.machine.restore(snapshot);
    }
    events.length = known;
    if (arena !== null) assert.is(Buffer.compare(arena, arenaOf(this.rig.machine)), 0, 'the arena');
    if (random.chance(0.2)) this.#before = snapshot;
  }

  #count(snapshot: Snapshot): void {
    this.moments++;
    if (this.rig.machine.nextDeadline() !== Number.POSITIVE_INFINITY) this.busy++;
    for (const { asked } of snapshot.parts.host.media.requests) if (asked !== null) this.asked[asked]++;
  }

  /** As run(), with about `moments` stops: between steps, and in the middle of time that passes. */
  async run(steps: readonly Step[], moments: number): Promise<void> {
    const random = this.#random;
    const passing = steps.filter(({ method }) => method === 'advance').length;
    const chance = moments / 2 / passing;
    const between = moments / 2 / steps.length;
    for (const [i, step] of steps.entries()) {
      const ahead = steps.slice(i, i + 60);
      if (random.chance(between)) await this.stop(ahead);
      if (step.method === 'advance' && random.chance(chance) && (await this.#part(step, ahead))) continue;
      while (!replay(this.rig.machine, this.rig.controller, step)) {
        if (random.chance(0.2)) await this.stop(ahead);
        await this.rig.machine.waitMedia();
      }
    }
  }

  /** Lets a part of the step's time pass and stops there; true if that was all of it. */
  async #part(step: Step, ahead: readonly Step[]): Promise<boolean> {
    const now = this.rig.machine.now();
    const asked = Number(step.args[0]);
    // Without an end, time stops at the last event.
    const until = asked === Number.POSITIVE_INFINITY ? this.rig.machine.nextDeadline() : asked;
    if (until <= now || until === Number.POSITIVE_INFINITY) return false;
    const middle = now + this.#random.below(until - now);
    let why = this.rig.machine.advance(middle);
    while (why === 'media') {
      if (this.#random.chance(0.3)) await this.stop(ahead);
      await this.rig.machine.waitMedia();
      why = this.rig.machine.advance(middle);
    }
    await this.stop(ahead);
    if (why === 'irq') assert.is(why, step.result);
    return why === 'irq';
  }
}

/** A row with a variant: the same run recorded, replayed, and replayed with stops. */
export async function checkRow(row: Row, variant: Variant, seed: number): Promise<Stopper> {
  const recorded = await makeRig(row, variant);
  const steps = await work(row, recorded, seed, COMMANDS);
  const expected = await outcome(recorded);
  const plain = await makeRig(row, variant);
  await run(plain, steps);
  assert.equal(await outcome(plain), expected);
  const stopper = new Stopper(row, variant, await makeRig(row, variant), new Random(seed));
  await stopper.run(steps, MOMENTS);
  const got = await outcome(stopper.rig);
  for (const [name, value] of Object.entries(expected)) assert.equal(got[name], value, name);
  assert.ok(stopper.moments > MOMENTS / 2, `${stopper.moments} moments`);
  return stopper;
}
