// The LSI driver and its programs on random chips: many commands at once, disks that disconnect at any byte, media that
// are late or fail, aborts and resets in between. What ends as good has moved its bytes, and everything ends once.

import * as regs from '../../assembly/lsi53c895a/regs.ts';
import { findProfile, type Profile } from '../../src/controllers/index.ts';
import type { Driver } from '../../src/drivers/driver.ts';
import { attachLsi53c895a } from '../../src/drivers/lsi53c895a.ts';
import { Random } from '../../src/kernel/random.ts';
import { type Controller, createMachine, type Disk, type Machine } from '../../src/machine/index.ts';
import { assert, suite } from '../run/suite.ts';
import { fill, TestCommand, TestHost } from './host.ts';

const test = suite('driver lsi53c895a, random');

const MIB = 2 ** 20;
const SEEDS = 16;
const WORKERS = 12;
/** Each worker has sectors, and memory below and above 4 GiB, of its own. */
const SECTORS = 48;
const MEMORY = 0x20000;
const LOW = 0x100000;
const HIGH = 2 ** 32;

/** A chip by chance: any of its features, and a burst of any even length. */
function chip(random: Random): Profile {
  const wide = random.below(2) === 0;
  const profile = findProfile(wide ? 'lsi53c895a' : 'lsi53c810')?.profile as Profile;
  const mismatchJumps = wide || random.below(2) === 0;
  const parameters = {
    wide,
    mismatchJumps,
    ram: random.below(2) === 0,
    loadStore: mismatchJumps || random.below(2) === 0,
    dualAddress: mismatchJumps && random.below(3) > 0,
    burst: random.below(4) === 0 ? 0 : 2 * (50 + random.below(800)),
  };
  return { ...profile, name: 'random', addressBits: parameters.dualAddress ? 64 : 32, parameters };
}

interface Worker {
  readonly number: number;
  command: TestCommand | null;
  /** What its command moves. */
  bytes: Uint8Array;
}

class Session {
  readonly #random: Random;
  readonly #machine: Machine;
  readonly #controller: Controller;
  readonly #driver: Driver;
  readonly #disks: readonly Disk[];
  readonly #workers: Worker[] = Array.from({ length: WORKERS }, (_, number) => ({
    number,
    command: null,
    bytes: new Uint8Array(0),
  }));
  ended = 0;
  good = 0;

  constructor(random: Random, machine: Machine, controller: Controller, disks: readonly Disk[]) {
    this.#random = random;
    this.#machine = machine;
    this.#controller = controller;
    this.#disks = disks;
    this.#driver = attachLsi53c895a(new TestHost(machine, controller, 16 * MIB));
    machine.guard.map(controller, LOW, WORKERS * MEMORY, 'both');
    machine.guard.map(controller, HIGH, WORKERS * MEMORY, 'both');
  }

  run(steps: number): void {
    for (let step = 0; step < steps; step++) {
      const chance = this.#random.below(1000);
      if (chance < 2) this.#driver.reset();
      else if (chance < 12) this.#abort();
      else if (chance < 300) this.#submit();
      else this.#pump();
      this.#reap();
    }
    for (let i = 0; i < 100_000 && this.#workers.some(({ command }) => command !== null); i++) {
      this.#pump();
      this.#reap();
    }
    assert.equal(
      this.#workers.filter(({ command }) => command !== null).map(({ number }) => number),
      [],
    );
    this.#driver.detach();
    assert.is(this.#machine.irqLines, 0);
  }

  #pump(): void {
    this.#driver.kick();
    this.#machine.advance(this.#machine.nextDeadline());
    if ((this.#machine.irqLines & (1 << this.#controller.line)) !== 0) this.#driver.interrupt();
  }

  #submit(): void {
    const idle = this.#workers.filter(({ command }) => command === null);
    const worker = idle[this.#random.below(Math.max(1, idle.length))];
    if (worker === undefined) return;
    const sectors = 1 + this.#random.below(SECTORS);
    const op = this.#random.below(2) === 0 ? 'read' : 'write';
    const command = new TestCommand({ op, direction: op, lba: worker.number * SECTORS, sectors });
    command.disk = this.#random.below(this.#disks.length);
    command.setSegments(this.#segments(worker.number, sectors * 512));
    const disk = this.#disks[command.disk] as Disk;
    if (op === 'read') worker.bytes = disk.read(command.lba * 512, sectors * 512);
    else {
      worker.bytes = fill(this.#random, sectors * 512);
      let at = 0;
      for (const { address, bytes } of this.#pieces(command)) {
        this.#machine.memory.writeBytes(address, worker.bytes, at, bytes);
        at += bytes;
      }
    }
    if (this.#driver.submit(command)) worker.command = command;
    if (this.#random.below(3) === 0) this.#driver.kick();
  }

  /** Segments of any length, one behind the other with gaps, on either side of 4 GiB. */
  #segments(worker: number, bytes: number): { address: number; bytes: number }[] {
    const segments: { address: number; bytes: number }[] = [];
    const longest = [3, 40, 600, 20_000][this.#random.below(4)] ?? 1;
    let offset = 0;
    for (let left = bytes; left > 0; ) {
      const last = segments.length === this.#driver.limits.maxSegments - 1;
      const n = last ? left : Math.min(left, 1 + this.#random.below(longest));
      const wide = this.#driver.limits.addressBits > 32 && this.#random.below(2) === 0;
      segments.push({ address: (wide ? HIGH : LOW) + worker * MEMORY + offset, bytes: n });
      offset += n + this.#random.below(8);
      left -= n;
    }
    return segments;
  }

  *#pieces({ segments }: TestCommand): Generator<{ address: number; bytes: number }> {
    for (let i = 0; i < segments.count; i++)
      yield { address: segments.addresses[i] as number, bytes: segments.lengths[i] as number };
  }

  #abort(): void {
    const busy = this.#workers.filter(({ command }) => command !== null);
    const worker = busy[this.#random.below(Math.max(1, busy.length))];
    if (worker?.command == null) return;
    const { command } = worker;
    this.#driver.abort(command);
    assert.is(command.ended, 1);
  }

  #reap(): void {
    for (const worker of this.#workers) {
      const { command, bytes } = worker;
      if (command === null || command.ended === 0) continue;
      assert.is(command.ended, 1);
      worker.command = null;
      this.ended++;
      const disk = this.#disks[command.disk] as Disk;
      if (command.status === 'ok') {
        this.good++;
        assert.is(command.residual, 0);
        assert.is(differs(disk.read(command.lba * 512, bytes.length), bytes), -1, describe(command));
        let at = 0;
        for (const { address, bytes: n } of this.#pieces(command)) {
          assert.ok(this.#machine.memory.equals(address, bytes, at, n), describe(command));
          at += n;
        }
      }
    }
  }
}

/** Where two arrays first differ, −1: nowhere. */
function differs(one: Uint8Array, other: Uint8Array): number {
  return one.findIndex((byte, i) => byte !== other[i]);
}

function describe({ op, disk, sectors, segments }: TestCommand): string {
  return `${op} of ${sectors} sectors of disk ${disk}: ${segments.lengths.subarray(0, segments.count).join(' ')}`;
}

for (let seed = 1; seed <= SEEDS; seed++) {
  test(`seed ${seed}`, async () => {
    const random = new Random(seed);
    const machine = await createMachine({
      flavour: 'debug',
      ram: [
        { base: 0, bytes: 24 * MIB },
        { base: 2 ** 32, bytes: 4 * MIB },
      ],
      diskBytes: 2 * MIB,
      guard: { mappings: true },
    });
    const controller = machine.addController({ kind: 'lsi53c895a', profile: chip(random) });
    const disks = Array.from({ length: 1 + random.below(3) }, (_, place) => {
      const disk = machine.addDisk({ bytes: WORKERS * SECTORS * 512, latencyNs: random.below(100_000) });
      controller.attach(disk, place === 0 ? 0 : regs.LSI_HOST_ID - place);
      machine.addFault({ disk, kind: 'delay', skip: random.below(20), times: 20, argument: 1_000_000 });
      return disk;
    });
    // Targets are found in the order of their ids.
    const found = disks.length === 3 ? [disks[0], disks[2], disks[1]] : disks;
    const session = new Session(random, machine, controller, found as Disk[]);
    session.run(3000);
    assert.ok(session.ended > 50, `${session.ended} ended, ${session.good} good`);
    assert.ok(session.good > 10, `${session.good} of ${session.ended}`);
    assert.equal(machine.guard.findings(), []);
  });
}
