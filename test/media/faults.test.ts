// The fault plan and media that fail by themselves, as a guest sees them through each controller.

import { truncateSync } from 'node:fs';
import { join } from 'node:path';
import { KEY_DATA_PROTECT, KEY_MEDIUM_ERROR } from '../../assembly/scsi/regs.ts';
import { type DiskOptions, type Fault, MachineError } from '../../src/machine/index.ts';
import { asyncMedium, MediumError, openFile, ramMedium, type SyncMedium } from '../../src/media/index.ts';
import { assert, suite } from '../run/suite.ts';
import { altered, contentOf, pattern, scratchFolder } from './help.ts';
import { type End, KINDS, type Kind, Rig } from './rig.ts';

const test = suite('media: faults');
const folder = scratchFolder();

const BYTES = 128 * 1024;
const MEDIA = ['module', 'sync', 'async'] as const;

interface Setup {
  readonly rig: Rig;
  /** The bytes of the disk, behind the controller's back. */
  content(): Promise<Uint8Array>;
}

async function setup(kind: Kind, where: (typeof MEDIA)[number], options: DiskOptions = {}): Promise<Setup> {
  const ram = filled(BYTES);
  const disk = where === 'module' ? { bytes: BYTES } : { medium: where === 'sync' ? ram : asyncMedium(ram) };
  const rig = await Rig.create(kind, { ...disk, ...options });
  if (where === 'module') rig.disk.write(0, pattern(BYTES, 1));
  const content = async (): Promise<Uint8Array> => {
    await rig.machine.idleMedia();
    return where === 'module' ? rig.disk.read(0, BYTES) : contentOf(ram);
  };
  return { rig, content };
}

function filled(bytes: number): SyncMedium {
  const ram = ramMedium(bytes);
  ram.writev(0, [pattern(bytes, 1)]);
  return ram;
}

function same(seen: Uint8Array, expected: Uint8Array, what: string): void {
  assert.is(Buffer.compare(seen, expected), 0, what);
}

for (const kind of KINDS) {
  for (const where of MEDIA) {
    for (const sectorBytes of [512, 4096] as const) {
      const name = `${kind}, ${where}, ${sectorBytes}-byte sectors`;

      test(`a read fails at the bad sector, what is before it arrives, and nothing behind it (${name})`, async () => {
        const { rig } = await setup(kind, where, { sectorBytes });
        const { machine, disk } = rig;
        machine.addFault({ disk, kind: 'error', operations: ['read'], first: 6, last: 6 });
        const before = rig.controller.counters.dmaWriteBytes;
        const end = await rig.one({ op: 'read', lba: 4, sectors: 6 });
        assert.is(end.status, 'check-condition');
        assert.is(end.senseKey, KEY_MEDIUM_ERROR);
        assert.is(end.badSector, 6);
        const good = 2 * sectorBytes;
        same(
          end.data.subarray(0, good),
          pattern(BYTES, 1).subarray(4 * sectorBytes, 6 * sectorBytes),
          'good part',
        );
        assert.ok(
          end.data.subarray(good).every((byte) => byte === 0xee),
          'memory behind the error',
        );
        const moved = rig.controller.counters.dmaWriteBytes - before;
        assert.ok(moved >= good && moved < 6 * sectorBytes, `${moved} bytes of DMA`);
        assert.is(disk.counters.errors, 1);
        assert.is((await rig.one({ op: 'read', lba: 7, sectors: 3 })).status, 'ok');
        assert.is((await rig.one({ op: 'read', lba: 0, sectors: 6 })).status, 'ok');
        assert.is(disk.counters.errors, 1);
      });

      test(`a write fails at the bad sector, what is before it is stored (${name})`, async () => {
        const { rig, content } = await setup(kind, where, { sectorBytes });
        const { machine, disk } = rig;
        machine.addFault({ disk, kind: 'error', operations: ['write'], first: 3, last: 9, times: 1 });
        const data = pattern(4 * sectorBytes, 2);
        const end = await rig.one({ op: 'write', lba: 1, sectors: 4, data });
        assert.is(end.status, 'check-condition');
        const expected = pattern(BYTES, 1);
        expected.set(data.subarray(0, 2 * sectorBytes), sectorBytes);
        same(await content(), expected, 'content');
        assert.is(disk.counters.errors, 1);
        assert.is((await rig.one({ op: 'write', lba: 1, sectors: 4, data })).status, 'ok', 'only once');
        expected.set(data, sectorBytes);
        same(await content(), expected, 'content');
      });

      test(`a torn write stores its first bytes and reports success (${name})`, async () => {
        const { rig, content } = await setup(kind, where, { sectorBytes });
        const { machine, disk } = rig;
        machine.addFault({ disk, kind: 'torn', argument: sectorBytes + 100, times: 1 });
        const data = pattern(3 * sectorBytes, 3);
        assert.is((await rig.one({ op: 'read', lba: 2, sectors: 3 })).status, 'ok', 'reads are not torn');
        assert.is((await rig.one({ op: 'write', lba: 2, sectors: 3, data })).status, 'ok');
        const expected = pattern(BYTES, 1);
        expected.set(data.subarray(0, sectorBytes + 100), 2 * sectorBytes);
        same(await content(), expected, 'content');
        assert.is(disk.counters.errors, 0);
      });
    }

    const name = `${kind}, ${where}`;

    test(`a torn write may lose everything, or nothing (${name})`, async () => {
      const { rig, content } = await setup(kind, where);
      const { machine, disk } = rig;
      machine.addFault({ disk, kind: 'torn', argument: 0, times: 1 });
      machine.addFault({ disk, kind: 'torn', argument: 2 ** 40 });
      const data = pattern(1024, 4);
      assert.is((await rig.one({ op: 'write', lba: 8, sectors: 2, data })).status, 'ok');
      same(await content(), pattern(BYTES, 1), 'nothing arrived');
      assert.is((await rig.one({ op: 'write', lba: 8, sectors: 2, data })).status, 'ok');
      const expected = pattern(BYTES, 1);
      expected.set(data, 4096);
      same(await content(), expected, 'all arrived');
    });

    test(`skip and times count the requests that match (${name})`, async () => {
      const { rig } = await setup(kind, where);
      const { machine, disk } = rig;
      const at: Omit<Fault, 'disk'> = { kind: 'error', operations: ['read'], first: 10, last: 19 };
      machine.addFault({ ...at, disk, skip: 2, times: 2 });
      const seen: string[] = [];
      for (const lba of [10, 0, 19, 20, 8, 12, 15, 15]) {
        const end = await rig.one({ op: 'read', lba, sectors: 4 });
        seen.push(end.status === 'ok' ? 'ok' : `${end.badSector}`);
      }
      // 10 and 19 pass, 0 and 20 do not match; 8 and 12 are struck, at their first sector in the range.
      assert.equal(seen, ['ok', 'ok', 'ok', 'ok', '10', '12', 'ok', 'ok']);
    });

    test(`of several bad sectors the request meets the lowest first, wherever it stands in the plan (${name})`, async () => {
      const { rig } = await setup(kind, where);
      const { machine, disk } = rig;
      for (const [first, times] of [
        [12, 1],
        [9, 1],
        [11, 0],
      ] as const) {
        machine.addFault({ kind: 'error', operations: ['read'], disk, first, last: first, times });
      }
      const seen: number[] = [];
      for (const lba of [8, 8, 12, 8]) seen.push((await rig.one({ op: 'read', lba, sectors: 6 })).badSector);
      assert.equal(seen, [9, 11, 12, 11]);
    });

    test(`a delay is added in virtual time (${name})`, async () => {
      const { rig } = await setup(kind, where);
      const { machine, disk } = rig;
      const time = async (): Promise<number> => {
        const begin = machine.now();
        return (await rig.one({ op: 'read', lba: 0, sectors: 1 })).time - begin;
      };
      const plain = await time();
      machine.addFault({ disk, kind: 'delay', operations: ['read'], argument: 5_000_000_000, times: 1 });
      assert.is(await time(), plain + 5_000_000_000);
      assert.is(await time(), plain);
    });

    test(`a flush and a discard fail as they are told to (${name})`, async () => {
      const { rig, content } = await setup(kind, where);
      const { machine, disk } = rig;
      machine.addFault({ disk, kind: 'error', operations: ['flush'], times: 1 });
      machine.addFault({ disk, kind: 'error', operations: ['discard'], times: 1, first: 5, last: 5 });
      assert.is.not((await rig.one({ op: 'flush' })).status, 'ok');
      assert.is((await rig.one({ op: 'flush' })).status, 'ok');
      assert.is.not((await rig.one({ op: 'discard', lba: 4, sectors: 4 })).status, 'ok');
      same(await content(), pattern(BYTES, 1), 'content');
      assert.is((await rig.one({ op: 'discard', lba: 4, sectors: 4 })).status, 'ok');
      const expected = pattern(BYTES, 1);
      expected.fill(0, 2048, 4096);
      same(await content(), expected, 'content');
      assert.is(disk.counters.errors, 2);
    });

    test(`what the disk refuses does not count for a fault (${name})`, async () => {
      const { rig, content } = await setup(kind, where, { readOnly: true });
      const { machine, disk } = rig;
      machine.addFault({ disk, kind: 'delay', operations: ['write'], argument: 1e12, times: 1 });
      const begin = machine.now();
      const end = await rig.one({ op: 'write', lba: 0, sectors: 1, data: pattern(512, 5) });
      assert.is.not(end.status, 'ok');
      if (kind === 'aha1542') assert.is(end.senseKey, KEY_DATA_PROTECT);
      assert.ok(end.time - begin < 1e12);
      same(await content(), pattern(BYTES, 1), 'content');
    });
  }

  for (const where of ['sync', 'async'] as const) {
    const place = (medium: SyncMedium): DiskOptions => ({
      medium: where === 'sync' ? medium : asyncMedium(medium),
    });

    test(`${kind}: a file that is cut off fails at its end, and says so (${where})`, async () => {
      const path = join(folder, `${kind}-${where}.img`);
      const file = await openFile(path, { create: BYTES });
      file.writev(0, [pattern(BYTES, 1)]);
      const rig = await Rig.create(kind, place(file));
      truncateSync(path, 3 * 512 + 100);
      const end = await rig.one({ op: 'read', lba: 1, sectors: 8 });
      assert.is(end.senseKey, KEY_MEDIUM_ERROR);
      assert.is(end.badSector, 3);
      same(end.data.subarray(0, 1024), pattern(BYTES, 1).subarray(512, 1536), 'good part');
      assert.is(rig.machine.mediaFailures.length, 1);
      assert.match(
        rig.machine.mediaFailures[0] as string,
        new RegExp(`^${path}: read ended early, at byte 1636`),
      );
      file.close();
      assert.is.not((await rig.one({ op: 'write', lba: 0, sectors: 1, data: pattern(512, 1) })).status, 'ok');
      assert.match(rig.machine.mediaFailures[1] as string, /: it is closed$/);
    });

    test(`${kind}: a medium that throws fails where it says (${where})`, async () => {
      const ram = filled(BYTES);
      const medium = altered(ram, {
        readv(offset, buffers) {
          if (offset >= 8192) throw new Error('cable');
          const done = ram.readv(offset, buffers);
          throw new MediumError('head crash', 'failed', { transferred: Math.min(done, 1024) });
        },
        flush() {
          throw new Error('no flush');
        },
      });
      const rig = await Rig.create(kind, place(medium));
      const first = await rig.one({ op: 'read', lba: 2, sectors: 4 });
      assert.is(first.badSector, 4);
      same(first.data.subarray(0, 1024), pattern(BYTES, 1).subarray(1024, 2048), 'good part');
      assert.is((await rig.one({ op: 'read', lba: 20, sectors: 4 })).badSector, 20);
      assert.is.not((await rig.one({ op: 'flush' })).status, 'ok');
      assert.equal(rig.machine.mediaFailures, ['ram: head crash', 'ram: cable', 'ram: no flush']);
      assert.is(rig.disk.counters.errors, 3);
    });

    test(`${kind}: a full medium is no bad sector (${where})`, async () => {
      const medium = altered(filled(BYTES), {
        writev() {
          throw new MediumError('full', 'no-space', { transferred: 512 });
        },
      });
      const rig = await Rig.create(kind, place(medium));
      const end = await rig.one({ op: 'write', lba: 8, sectors: 2, data: pattern(1024, 1) });
      assert.is(end.status, 'check-condition');
      if (kind === 'aha1542') assert.is(end.senseKey, KEY_DATA_PROTECT);
      else assert.is.not(end.senseKey, KEY_MEDIUM_ERROR);
    });

    test(`${kind}: a medium that lies about what it moved has moved nothing (${where})`, async () => {
      for (const lie of [Number.NaN, -1, 1.5, 1e9]) {
        const rig = await Rig.create(kind, place(altered(filled(BYTES), { readv: () => lie })));
        assert.is((await rig.one({ op: 'read', lba: 5, sectors: 2 })).badSector, 5);
      }
    });
  }
}

for (const where of MEDIA) {
  /** WRITE SAME (10) and VERIFY (10), SBC-2 5.40 and 5.21. */
  const execute = async (
    rig: Rig,
    op: number,
    lba: number,
    blocks: number,
    data?: Uint8Array,
  ): Promise<End> => {
    const command = rig.prepare(data === undefined ? { op: 'flush' } : { op: 'write', sectors: 1, data });
    command.op = 'scsi';
    command.cdb.set([op, 0, 0, 0, 0, lba, 0, 0, blocks, 0]);
    command.cdbLength = 10;
    return rig.finish(command);
  };

  test(`one block is written to many, zeroes and others (${where})`, async () => {
    const { rig, content } = await setup('aha1542', where);
    assert.is((await execute(rig, 0x41, 9, 20, new Uint8Array(512))).status, 'ok');
    assert.is((await execute(rig, 0x41, 40, 20, pattern(512, 6))).status, 'ok');
    const expected = pattern(BYTES, 1);
    expected.fill(0, 9 * 512, 29 * 512);
    for (let lba = 40; lba < 60; lba++) expected.set(pattern(512, 6), lba * 512);
    same(await content(), expected, 'content');
  });

  test(`zeroes and verification fail as they are told to (${where})`, async () => {
    const { rig, content } = await setup('aha1542', where);
    const { machine, disk } = rig;
    machine.addFault({ disk, kind: 'error', operations: ['zero'], first: 12, last: 12, times: 1 });
    machine.addFault({ disk, kind: 'error', operations: ['verify'], first: 33, last: 34, times: 1 });
    const zero = await execute(rig, 0x41, 9, 20, new Uint8Array(512));
    assert.is(zero.senseKey, KEY_MEDIUM_ERROR);
    assert.is(zero.badSector, 12);
    same(await content(), pattern(BYTES, 1), 'content');
    assert.is((await execute(rig, 0x2f, 30, 10)).badSector, 33);
    assert.is((await execute(rig, 0x2f, 30, 10)).status, 'ok');
    assert.is(disk.counters.errors, 2);
  });
}

test('a disk cannot be written through a medium that is read-only', async () => {
  const rig = await Rig.create('ahci', {
    medium: altered(filled(BYTES), { readOnly: true }),
    readOnly: false,
  });
  assert.is(rig.disk.readOnly, true);
});

test('a fault that could never strike is refused with the reason', async () => {
  const { machine, disk } = await Rig.create('ahci', { bytes: 4096 });
  const bad = (fault: Omit<Fault, 'disk'>, message: RegExp): void => {
    assert.throws(
      () => machine.addFault({ ...fault, disk }),
      (error: unknown) => error instanceof MachineError && message.test(error.message),
    );
  };
  bad({ kind: 'torn', operations: ['read'] }, /only a write can be torn/);
  bad({ kind: 'error', operations: [] }, /empty/);
  bad({ kind: 'error', first: 5, last: 4 }, /last is 4, before fault.first, 5/);
  bad({ kind: 'error', first: -1 }, /first is -1; it must be a whole number from 0 to/);
  bad({ kind: 'error', skip: 2 ** 32 }, /skip is 4294967296; it must be a whole number from 0 to 4294967295/);
  for (let i = 0; i < 256; i++) machine.addFault({ kind: 'error', disk, first: 7, last: 7 });
  bad({ kind: 'error' }, /256 entries/);
});
