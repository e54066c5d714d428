// A guest and a host that do anything to a drive on a port: no access traps, nothing hangs, and after a reset it works.

import { Random } from '../../src/kernel/random.ts';
import { assert, suite } from '../run/suite.ts';
import { mishap, plan, randomPacket } from '../scsi/random-packet.ts';
import { ata, DATA, Hba, pattern, regs } from './hba.ts';

const test = suite('ahci: packet fuzz');

const STEPS = 50_000;
const CHECK_EVERY = 12_500;
const BLOCK = 2048;
const COMMANDS = [ata.ATA_IDENTIFY_PACKET, ata.ATA_IDENTIFY, ata.ATA_DEVICE_RESET, ata.ATA_READ_FPDMA_QUEUED];

class Chaos {
  readonly random: Random;

  constructor(
    readonly hba: Hba,
    seed: number,
  ) {
    this.random = new Random(seed);
  }

  /** A slot's structures: mostly a packet. */
  prepare(): void {
    const { random, hba } = this;
    const prds = Array.from({ length: random.below(4) }, () => ({
      address: random.below(20) === 0 ? random.next() * 2 : DATA + 2 * random.below(0x8000),
      bytes: 2 + 2 * random.below(random.below(2) === 0 ? 0x8000 : 0x400),
    }));
    const other = random.below(12) === 0;
    hba.prepare(
      random.below(4),
      {
        command: other ? (COMMANDS[random.below(COMMANDS.length)] as number) : ata.ATA_PACKET,
        lba: random.below(0x10000) * 256,
        count: random.below(256),
        feature: random.below(8) === 0 ? random.below(256) : random.below(2),
        header: random.below(16) === 0 ? random.below(0x10000) & ~31 : regs.AHCI_HEADER_ATAPI,
        packet: randomPacket(random),
      },
      prds,
    );
  }

  step(): void {
    const { hba, random } = this;
    const { machine } = hba;
    const n = random.below(1000);
    if (n < 350) this.prepare();
    else if (n < 600) hba.setPx(regs.AHCI_PX_CI, 1 << random.below(4));
    else if (n < 640) hba.setPx(random.below(0x48) & ~3, random.next());
    else if (n < 850) machine.advance(machine.now() + random.below(40_000));
    else if (n < 860) mishap(random, machine, hba.drive);
    else if (n < 960) hba.restart();
    else if (n < 998) this.repair();
    else {
      // A snapshot that is put back changes nothing.
      const snapshot = machine.save();
      machine.restore(snapshot);
      assert.equal(machine.save().toBytes(), snapshot.toBytes());
    }
  }

  repair(): void {
    const { hba } = this;
    hba.write(regs.AHCI_GHC, regs.AHCI_GHC_AE | regs.AHCI_GHC_IE);
    hba.setPx(regs.AHCI_PX_CMD, 0);
    hba.setPx(regs.AHCI_PX_SCTL, regs.AHCI_DET_RESET);
    hba.setPx(regs.AHCI_PX_SCTL, 0);
    hba.machine.advance(hba.machine.now() + 300_000);
    hba.startPort();
  }

  /** Resets everything; the drive then reads a medium that is new to it. */
  check(seed: number): void {
    const { hba } = this;
    const { drive, machine } = hba;
    hba.controller.reset('power-on');
    hba.controller.enable();
    hba.start();
    drive.eject(true);
    drive.insert({ bytes: 16 * BLOCK });
    const content = pattern(2 * BLOCK, seed);
    drive.write(4 * BLOCK, content);
    const task = {
      command: ata.ATA_PACKET,
      feature: ata.ATA_PACKET_DMA,
      header: regs.AHCI_HEADER_ATAPI,
      packet: [0x28, 0, 0, 0, 0, 4, 0, 0, 2, 0],
    };
    let status: number = ata.ATA_STATUS_ERR;
    for (let tries = 0; tries < 8 && (status & ata.ATA_STATUS_ERR) !== 0; tries++) {
      hba.restart();
      hba.prepare(0, task, [{ address: DATA, bytes: 2 * BLOCK }]);
      hba.setPx(regs.AHCI_PX_CI, 1);
      for (let i = 0; i < 100 && machine.nextDeadline() !== Number.POSITIVE_INFINITY; i++) {
        machine.settle();
        machine.release(drive);
        machine.retry();
      }
      status = hba.px(regs.AHCI_PX_TFD);
    }
    assert.is(status & 0xff, ata.ATA_STATUS_DRDY);
    assert.ok(machine.memory.equals(DATA, content));
    machine.memory.fill(DATA, 0, 2 * BLOCK);
  }
}

for (const [seed, profile] of ['ahci', 'ahci-q35'].entries()) {
  test(`${profile}: no access traps, and after a reset the drive works`, async () => {
    const hba = await Hba.create({
      flavour: 'debug',
      profile,
      disks: 0,
      diskBytes: 2 ** 20,
      drives: [{ bytes: 32 * BLOCK, readErrors: seed === 0 ? 'stop' : 'report' }],
    });
    plan(hba.machine, hba.drive);
    const chaos = new Chaos(hba, seed + 21);
    for (let i = 1; i <= STEPS; i++) {
      chaos.step();
      if (i % CHECK_EVERY === 0) chaos.check(i);
    }
    const { commands, completions, dmaWriteBytes } = hba.controller.counters;
    assert.ok(
      commands > STEPS / 50 && completions > commands / 3,
      `${completions} of ${commands} commands ended`,
    );
    assert.ok(dmaWriteBytes > 100_000, `${dmaWriteBytes} bytes`);
  });
}
