// A guest and a host that do anything to two drives and a disk: no access traps, nothing hangs, and after a reset they work.

import { Random } from '../../src/kernel/random.ts';
import { assert, suite } from '../run/suite.ts';
import { mishap, plan, randomPacket } from '../scsi/random-packet.ts';
import { ata, DATA, Ide, pattern, regs } from './ide.ts';

const test = suite('piix-ide: packet fuzz');

const STEPS = 120_000;
const CHECK_EVERY = 20_000;
const BLOCK = 2048;
const PLACES = [
  [0, 1],
  [1, 0],
] as const;
const COMMANDS = [
  ata.ATA_IDENTIFY_PACKET,
  ata.ATA_IDENTIFY,
  ata.ATA_DEVICE_RESET,
  ata.ATA_EXECUTE_DIAGNOSTIC,
  ata.ATA_SET_FEATURES,
  ata.ATA_SLEEP,
  ata.ATA_READ_DMA,
  ata.ATA_READ_SECTORS,
];

class Chaos {
  readonly random: Random;
  packets = 0;
  blocks = 0;
  restores = 0;

  constructor(
    readonly ide: Ide,
    seed: number,
  ) {
    this.random = new Random(seed);
  }

  packet(channel: number): void {
    const { random, ide } = this;
    const limit = random.below(8) === 0 ? random.below(0x10000) : 2 * random.below(3000);
    const feature = random.below(10) === 0 ? random.below(256) : random.below(2);
    ide.sendPacket(randomPacket(random), limit, feature, channel === 0 ? 1 : random.below(2), channel);
    this.packets++;
  }

  /** Takes or brings the block in hand, or part of it. */
  block(channel: number): void {
    const { random, ide } = this;
    const bytes = Math.min(ide.block(channel), 0x4000);
    if (bytes === 0) return;
    this.blocks++;
    const part = random.below(4) === 0 ? random.below(bytes) & ~1 : bytes + (bytes & 1);
    if (random.below(8) === 0) ide.put(new Uint8Array(part), channel);
    else if ((ide.read(regs.IDE_COUNT, channel) & ata.ATA_REASON_TO_HOST) !== 0) ide.take(part, channel);
    else ide.put(new Uint8Array(part), channel);
  }

  master(channel: number): void {
    const { random, ide } = this;
    const prds = Array.from({ length: 1 + random.below(3) }, () => ({
      address: random.below(20) === 0 ? random.next() : DATA + random.below(0x100000),
      bytes: 2 + 2 * random.below(0x4000),
    }));
    ide.setTable(prds, channel, undefined, random.below(8) > 0);
    ide.stop(channel);
    ide.start(random.below(5) > 0, channel);
  }

  step(): void {
    const { ide, random } = this;
    const { machine, controller } = ide;
    const channel = random.below(2);
    const n = random.below(1000);
    if (n < 250) this.packet(channel);
    else if (n < 450) this.block(channel);
    else if (n < 600) this.master(channel);
    else if (n < 640)
      ide.send(
        { command: COMMANDS[random.below(COMMANDS.length)] as number, drive: random.below(2) },
        channel,
      );
    else if (n < 700) controller.write8(2 * channel, 1 + random.below(7), random.below(256));
    else if (n < 900) machine.advance(machine.now() + random.below(40_000));
    else if (n < 960) mishap(random, machine, ide.drives[random.below(2)] as (typeof ide.drives)[0]);
    else if (n < 990) ide.softReset(channel);
    else if (n < 992) controller.reset(random.below(2) === 0 ? 'bus' : 'function');
    else if (n < 999) controller.enable();
    else {
      // A snapshot that is put back changes nothing.
      const snapshot = machine.save();
      machine.restore(snapshot);
      assert.equal(machine.save().toBytes(), snapshot.toBytes());
      this.restores++;
    }
  }

  /** Resets everything; each drive then reads a medium that is new to it. */
  check(seed: number): void {
    const { ide } = this;
    const { machine } = ide;
    ide.controller.reset('power-on');
    ide.controller.enable();
    for (const [i, [channel, drive]] of PLACES.entries()) {
      ide.stop(channel);
      const cd = ide.drives[i] as (typeof ide.drives)[0];
      cd.eject(true);
      cd.insert({ bytes: 16 * BLOCK });
      const content = pattern(2 * BLOCK, seed + i);
      cd.write(4 * BLOCK, content);
      const read = [0x28, 0, 0, 0, 0, 4, 0, 0, 2, 0];
      let error = -1;
      // Power on, not ready, the new medium: three words that it has to say first.
      for (let tries = 0; tries < 8 && error !== 0; tries++) {
        ide.setTable([{ address: DATA, bytes: 2 * BLOCK }], channel);
        ide.sendPacket(read, 0, ata.ATA_PACKET_DMA, drive, channel);
        ide.start(true, channel);
        for (let i = 0; i < 100 && machine.nextDeadline() !== Number.POSITIVE_INFINITY; i++) {
          machine.settle();
          machine.release(cd);
          machine.retry();
        }
        ide.stop(channel);
        error =
          (ide.read(regs.IDE_STATUS, channel) & ata.ATA_STATUS_ERR) === 0
            ? 0
            : ide.read(regs.IDE_ERROR, channel);
      }
      assert.is(error, 0);
      assert.ok(machine.memory.equals(DATA, content));
      machine.memory.fill(DATA, 0, 2 * BLOCK);
    }
  }
}

for (const [seed, profile] of ['piix4', 'piix3-pc'].entries()) {
  test(`${profile}: no access traps, and after a reset the drives work`, async () => {
    const ide = await Ide.create({
      flavour: 'debug',
      profile,
      places: [[0, 0]],
      diskBytes: 2 ** 20,
      drives: PLACES.map((place, i) => ({
        bytes: 32 * BLOCK,
        place,
        readErrors: i === 0 ? ('stop' as const) : ('report' as const),
      })),
    });
    for (const drive of ide.drives) plan(ide.machine, drive);
    const chaos = new Chaos(ide, seed + 11);
    for (let i = 1; i <= STEPS / 2; i++) {
      chaos.step();
      if (i % CHECK_EVERY === 0) chaos.check(i);
    }
    const { commands, completions, dmaWriteBytes } = ide.controller.counters;
    assert.ok(completions > commands / 3, `only ${completions} of ${commands} commands ended`);
    assert.ok(
      chaos.packets > STEPS / 10 && chaos.blocks > 200,
      `${chaos.packets} packets, ${chaos.blocks} blocks`,
    );
    assert.ok(
      dmaWriteBytes > 10_000 && chaos.restores > 10,
      `${dmaWriteBytes} bytes, ${chaos.restores} restores`,
    );
  });
}
