// Drives as the machine holds them: where they go, what is laid into them, snapshots, media that leave under a read.

import { createMachine, type Drive, type Machine, MachineError, Snapshot } from '../../src/machine/index.ts';
import { ramMedium } from '../../src/media/index.ts';
import { ata, Ide, pattern, regs } from '../piix-ide/ide.ts';
import { assert, suite } from '../run/suite.ts';
import { clearAttention, type Opener, WAYS } from '../scsi/ways.ts';

const test = suite('machine: drives');

const BLOCK = 2048;
const READ_FOUR = [0x28, 0, 0, 0, 0, 0, 0, 0, 4, 0];

function message(act: () => unknown): string {
  try {
    act();
  } catch (error) {
    if (error instanceof MachineError) return error.message;
    throw error;
  }
  return '';
}

test('NVMe and virtio-blk have no place for a drive, and say so', async () => {
  const machine = await createMachine({ guard: false });
  const drive = machine.addDrive();
  for (const kind of ['nvme', 'virtio-blk']) {
    const controller = machine.addController({ kind });
    assert.is(
      message(() => controller.attach(drive, 0)),
      `${kind}.0 has no place 0, unit 0 for an optical drive`,
    );
  }
});

test('a disc has whole blocks, room, and no other size than its own', async () => {
  const machine = await createMachine({ guard: false, ram: 'small', diskBytes: 2 ** 16 });
  const drive = machine.addDrive();
  assert.equal([drive.bytes, drive.sectorBytes, drive.readOnly], [0, BLOCK, true]);
  const size = 'the size must be a multiple of 2048 bytes';
  assert.is(
    message(() => drive.load({ bytes: 1000 })),
    `a disc of 1000 bytes: ${size}`,
  );
  assert.is(
    message(() => drive.load({})),
    `a disc of 0 bytes: ${size}`,
  );
  assert.match(
    message(() => drive.load({ bytes: 2 ** 29 })),
    /^no room for a disc of 536870912 bytes/,
  );
  assert.match(
    message(() => drive.resize(4096)),
    /^a drive has the size of what is in it/,
  );
  assert.match(
    message(() => machine.addDrive({ bytes: 512 })),
    /^a disc of 512 bytes/,
  );
  assert.equal(drive.tray, { open: false, locked: false, loaded: false });
});

test('a disc in memory is zeroes, and a smaller one takes the place of the last', async () => {
  const machine = await createMachine({ guard: false, ram: 'small', diskBytes: 2 ** 18 });
  const drive = machine.addDrive({ bytes: 8 * BLOCK });
  drive.write(0, pattern(8 * BLOCK, 1));
  // Room for the first one only: each of these lies where that lay.
  for (let i = 0; i < 200; i++) drive.load({ bytes: (1 + (i % 8)) * BLOCK });
  assert.is(drive.bytes, 8 * BLOCK);
  assert.equal(drive.read(0, 8 * BLOCK), new Uint8Array(8 * BLOCK));
});

test('a medium that leaves under a read is gone for it, whatever comes after', async () => {
  for (const next of [null, { bytes: BLOCK }, { medium: ramMedium(BLOCK) }]) {
    const ide = await Ide.create({
      flavour: 'debug',
      places: [],
      drives: [{ medium: ramMedium(64 * BLOCK), place: [0, 0] }],
    });
    ide.sendPacket([0, 0, 0, 0, 0, 0], 0);
    ide.sendPacket(READ_FOUR, 4 * BLOCK);
    ide.drive.eject();
    if (next !== null) ide.drive.insert(next);
    ide.machine.settle();
    assert.is(ide.read(regs.IDE_STATUS) & ata.ATA_STATUS_ERR, ata.ATA_STATUS_ERR);
    // Not ready.
    assert.is(ide.read(regs.IDE_ERROR), 0x20);
  }
});

async function withDisc(disc: number | null): Promise<{ machine: Machine; drive: Drive }> {
  const machine = await createMachine({ guard: false, ram: 'small', diskBytes: 2 ** 18 });
  const controller = machine.addController({ kind: 'piix-ide' });
  const drive = machine.addDrive(disc === null ? {} : { bytes: disc * BLOCK });
  controller.attach(drive, 0, 0);
  return { machine, drive };
}

test('a snapshot fits a machine whose drives hold the same, and says which do not', async () => {
  const { machine, drive } = await withDisc(4);
  drive.write(0, pattern(BLOCK, 9));
  drive.openTray();
  const snapshot = Snapshot.fromBytes(machine.save().toBytes());
  const same = await withDisc(4);
  same.machine.restore(snapshot);
  assert.equal(same.drive.tray, { open: true, locked: false, loaded: true });
  assert.equal(same.drive.read(0, BLOCK), pattern(BLOCK, 9));
  for (const disc of [3, null]) {
    const other = await withDisc(disc);
    assert.match(
      message(() => other.machine.restore(snapshot)),
      /there disk 1, a drive, with 8192 bytes in RAM, kept at \d+; here disk 1, a drive, (with 6144 bytes|empty)/,
    );
  }
  drive.remove();
  assert.match(
    message(() => machine.restore(snapshot)),
    /here disk 1, a drive, empty/,
  );
});

test('what the guest did to the tray is in a snapshot, media events and all', async () => {
  const way = await (WAYS.aha1542 as Opener)({ bytes: 4 * BLOCK });
  clearAttention(way);
  const events = [0x4a, 1, 0, 0, 0x10, 0, 0, 0, 8, 0];
  way.run([0x1e, 0, 0, 0, 1, 0]);
  way.drive.openTray();
  const snapshot = way.machine.save();
  assert.is(way.run(events, 8).data[4], 1);
  way.run([0x1e, 0, 0, 0, 0, 0]);
  way.run([0x1b, 0, 0, 0, 2, 0]);
  assert.equal(way.drive.tray, { open: true, locked: false, loaded: true });
  way.machine.restore(snapshot);
  assert.equal(way.drive.tray, { open: false, locked: true, loaded: true });
  assert.is(way.run(events, 8).data[4], 1);
});

test('notices beyond the first sixteen are not kept, and a tray that does not move makes none', async () => {
  const { machine, drive } = await withDisc(null);
  drive.closeTray();
  assert.equal(machine.takeNotices(), []);
  for (let i = 0; i < 20; i++) {
    drive.openTray();
    drive.closeTray();
  }
  const notices = machine.takeNotices();
  assert.is(notices.length, 16);
  assert.ok(notices.every((notice, i) => notice.kind === 'tray' && notice.open === (i % 2 === 0)));
});
