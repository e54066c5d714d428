// Another medium comes into the drive in the middle of a READ(10): before its data moves, between two blocks that the
// host takes by PIO, between two bursts of a SCSI target. What is left of the command ends as the medium's absence does,
// no byte of the new medium gets into it, and the new one is announced as MMC has it.

import * as mmc from '../../assembly/scsi/mmc-regs.ts';
import * as scsi from '../../assembly/scsi/regs.ts';
import type { Drive, Machine } from '../../src/machine/index.ts';
import { Chip, DATA } from '../lsi53c895a/chip.ts';
import { meanwhile } from '../machine/meanwhile.ts';
import { assert, suite } from '../run/suite.ts';
import { WAYS } from './ways.ts';

const test = suite('scsi: medium changes');

const BLOCK = 2048;
const BLOCKS = 16;
const OLD = 0x11;
const NEW = 0x22;
const read = (blocks: number): number[] => [scsi.OP_READ_10, 0, 0, 0, 0, 0, 0, 0, blocks, 0];
const READY = [scsi.OP_TEST_UNIT_READY, 0, 0, 0, 0, 0];
const ABSENT = { key: scsi.KEY_NOT_READY, code: mmc.ASC_NO_MEDIUM_CLOSED };

function fillWith(drive: Drive, byte: number): void {
  drive.write(0, new Uint8Array(BLOCKS * BLOCK).fill(byte));
}

function change(drive: Drive): void {
  drive.eject(true);
  drive.insert({ bytes: BLOCKS * BLOCK });
  fillWith(drive, NEW);
}

function inBurst(machine: Machine, bytes: () => number, least: number, drive: Drive): void {
  const before = bytes();
  meanwhile(
    machine,
    () => bytes() - before >= least,
    () => change(drive),
  );
}

for (const [name, open] of Object.entries(WAYS)) {
  test(`${name}: before the data moves`, async () => {
    const { machine, drive, run } = await open({ bytes: BLOCKS * BLOCK });
    fillWith(drive, OLD);
    run(READY);
    const before = drive.counters.reads;
    meanwhile(
      machine,
      () => drive.counters.reads !== before,
      () => change(drive),
    );
    const { data, key, code } = run(read(4), 4 * BLOCK);
    assert.equal({ key, code }, ABSENT);
    assert.ok(!data.includes(NEW));
    const codes = [run(READY), run(READY), run(READY)].map((answer) => answer.code);
    assert.equal(codes, [mmc.ASC_BECOMING_READY, mmc.ASC_MEDIUM_CHANGED, 0]);
    assert.equal(run(read(4), 4 * BLOCK).data, new Uint8Array(4 * BLOCK).fill(NEW));
  });
}

test('piix-ide by PIO: between two blocks; those that the drive has put up are of the old medium', async () => {
  const { machine, drive, run } = await (WAYS['piix-ide by PIO'] as (typeof WAYS)[string])({
    bytes: BLOCKS * BLOCK,
  });
  fillWith(drive, OLD);
  run(READY);
  const settle = machine.settle.bind(machine);
  let settles = 0;
  // The first lets the medium work, the second comes behind the first block that was taken.
  machine.settle = () => {
    if (++settles === 2) change(drive);
    settle();
  };
  const { data, key, code } = run(read(8), 8 * BLOCK);
  assert.equal({ key, code }, ABSENT);
  assert.equal(data, new Uint8Array(4 * BLOCK).fill(OLD));
});

test('lsi53c895a: between two bursts, while the target is off the bus', async () => {
  const chip = await Chip.create({
    profile: 'lsi53c895a-burst',
    drive: { bytes: BLOCKS * BLOCK },
    flavour: 'debug',
  });
  const drive = chip.drive as Drive;
  fillWith(drive, OLD);
  chip.execute({ target: 3, cdb: READY });
  chip.machine.memory.fill(DATA, 0, BLOCKS * BLOCK);
  inBurst(chip.machine, () => chip.controller.counters.dmaWriteBytes, 4 * BLOCK, drive);
  const { status, residual } = chip.execute({
    target: 3,
    cdb: read(BLOCKS),
    segments: [[DATA, BLOCKS * BLOCK]],
  });
  assert.is(status, scsi.STATUS_CHECK_CONDITION);
  const moved = BLOCKS * BLOCK - residual;
  const bytes = chip.machine.memory.readBytes(DATA, BLOCKS * BLOCK);
  assert.ok(residual > 0 && moved > 0, `${residual} bytes are left`);
  assert.ok(!bytes.includes(NEW));
  assert.equal(bytes.subarray(0, moved), new Uint8Array(moved).fill(OLD));
});
