// Requests that wait for the host: those whose medium failed under the policy to stop, and those that the fault plan holds.

import { type DiskOptions, Snapshot } from '../../src/machine/index.ts';
import { asyncMedium, type Medium, MediumError, ramMedium, type SyncMedium } from '../../src/media/index.ts';
import { ata, Ide, pattern, regs } from '../piix-ide/ide.ts';
import { assert, suite } from '../run/suite.ts';
import { type Command, type Kind, Rig, type Work } from './rig.ts';

const test = suite('media: parked requests');

const ALL: readonly Kind[] = ['aha1542', 'piix-ide', 'ahci', 'nvme', 'virtio-blk', 'lsi53c895a'];
const STOP = { readErrors: 'stop', writeErrors: 'stop' } as const;
const BYTES = 2 ** 18;
const { ATA_STATUS_BSY: BSY, ATA_STATUS_DRQ: DRQ, ATA_STATUS_GOOD: GOOD } = ata;

/** Runs the hardware until every command has ended, or nothing happens any more, or a request was parked. */
async function go(rig: Rig, ...commands: Command[]): Promise<'ended' | 'waits'> {
  while (commands.some((command) => command.end === null)) {
    if (rig.machine.parkedRequests > 0 && rig.machine.nextDeadline() === Number.POSITIVE_INFINITY)
      return 'waits';
    if (!rig.step()) await rig.machine.waitMedia();
  }
  return 'ended';
}

/** A medium that fails as often as it is told, before it does anything. */
function failing(bytes = BYTES): {
  medium: SyncMedium;
  left: { count: number; reason: 'failed' | 'no-space' };
} {
  const medium = ramMedium(bytes, { name: 'flaky' });
  const left = { count: 0, reason: 'failed' as 'failed' | 'no-space' };
  const check = (): void => {
    if (left.count > 0 && left.count-- > 0) throw new MediumError('flaky: not now', left.reason);
  };
  return {
    left,
    medium: {
      sync: true,
      name: medium.name,
      bytes: medium.bytes,
      readOnly: false,
      content: medium.content,
      readv(offset, buffers) {
        check();
        return medium.readv(offset, buffers);
      },
      writev(offset, buffers) {
        check();
        return medium.writev(offset, buffers);
      },
      flush: check,
      discard(offset, length) {
        check();
        medium.discard(offset, length);
      },
      close() {},
    },
  };
}

for (const kind of ALL) {
  test(`${kind}: a failed write, read and flush wait, and are done when they are tried again`, async () => {
    const rig = await Rig.create(kind, { bytes: BYTES, ...STOP });
    const data = pattern(8192, 4);
    const works: Work[] = [
      { op: 'write', lba: 40, sectors: 16, data },
      { op: 'read', lba: 40, sectors: 16 },
      { op: 'flush' },
    ];
    for (const work of works) {
      rig.machine.takeNotices();
      rig.machine.addFault({ disk: rig.disk, kind: 'error', operations: [work.op as 'read'], times: 2 });
      const command = rig.prepare(work);
      rig.start(command);
      // It fails again the first time.
      for (let i = 0; i < 2; i++) {
        assert.is(await go(rig, command), 'waits');
        const [notice, more] = rig.machine.takeNotices();
        assert.equal(notice, { kind: 'parked', disk: rig.disk, operation: work.op, reason: 'failed' });
        assert.is(more, undefined);
        rig.machine.retry();
      }
      assert.is(await go(rig, command), 'ended');
      assert.is(command.end?.status, 'ok');
      if (work.op === 'read') assert.equal(command.end?.data, data);
      assert.is(rig.machine.parkedRequests, 0);
    }
  });
}

const MEDIA: readonly (readonly [string, (medium: SyncMedium) => Medium])[] = [
  ['synchronous', (medium) => medium],
  ['asynchronous', (medium) => asyncMedium(medium)],
];
for (const [how, wrap] of MEDIA) {
  for (const kind of ['piix-ide', 'ahci', 'aha1542'] as const) {
    test(`${kind}: what a ${how} medium fails is asked for again, with the same bytes`, async () => {
      const { medium, left } = failing();
      const rig = await Rig.create(kind, { medium: wrap(medium), ...STOP });
      const data = pattern(8192, 7);
      for (const work of [
        { op: 'write', lba: 8, sectors: 16, data },
        { op: 'read', lba: 8, sectors: 16 },
        { op: 'flush' },
      ] as const) {
        left.count = 2;
        const command = rig.prepare(work);
        rig.start(command);
        for (let i = 0; i < 4 && (await go(rig, command)) === 'waits'; i++) {
          assert.ok(command.end === null);
          rig.machine.retry();
        }
        assert.equal([command.end?.status, left.count], ['ok', 0]);
        if (work.op === 'read') assert.equal(command.end?.data, data);
      }
      const stored = new Uint8Array(8192);
      medium.readv(8 * 512, [stored]);
      assert.equal(stored, data);
      assert.ok(rig.machine.mediaFailures.some((message) => message.includes('not now')));
    });
  }
}

test('no-space waits for space, and reports what else fails', async () => {
  const { medium, left } = failing();
  const rig = await Rig.create('ahci', { medium, writeErrors: 'no-space' });
  const write: Work = { op: 'write', lba: 0, sectors: 1, data: pattern(512, 1) };
  left.count = 1;
  left.reason = 'no-space';
  const waiting = rig.prepare(write);
  rig.start(waiting);
  assert.is(await go(rig, waiting), 'waits');
  assert.equal(rig.machine.takeNotices(), [
    { kind: 'parked', disk: rig.disk, operation: 'write', reason: 'no-space' },
  ]);
  rig.machine.retry();
  assert.is(await go(rig, waiting), 'ended');
  assert.is(waiting.end?.status, 'ok');
  left.count = 1;
  left.reason = 'failed';
  assert.not((await rig.one(write)).status === 'ok');
  assert.equal(rig.machine.takeNotices(), []);
});

test('without a policy the guest hears of it, as ever', async () => {
  const { medium, left } = failing();
  const rig = await Rig.create('piix-ide', { medium });
  left.count = 1;
  assert.not((await rig.one({ op: 'write', sectors: 1, data: pattern(512, 1) })).status === 'ok');
  assert.is(rig.machine.parkedRequests, 0);
});

test('a read-only disk and a range that is not there are never the host’s to mend', async () => {
  const rig = await Rig.create('aha1542', { bytes: BYTES, readOnly: true, ...STOP });
  assert.not((await rig.one({ op: 'write', sectors: 1, data: pattern(512, 1) })).status === 'ok');
  assert.not((await rig.one({ op: 'read', lba: BYTES / 512, sectors: 1 })).status === 'ok');
  assert.is(rig.machine.parkedRequests, 0);
});

async function ideWith(options: DiskOptions): Promise<Ide> {
  const ide = await Ide.create({ flavour: 'debug', places: [] });
  const disk = ide.machine.addDisk({ bytes: BYTES, ...options });
  ide.controller.attach(disk, 0, 0);
  return ide;
}

test('a flush is held until it is released: the drive is busy meanwhile', async () => {
  const ide = await ideWith({});
  const [disk] = ide.machine.disks;
  assert.ok(disk !== undefined);
  ide.machine.addFault({ disk, kind: 'hold', operations: ['flush'], argument: 7 });
  ide.send({ command: ata.ATA_FLUSH_CACHE });
  ide.machine.settle();
  assert.is(ide.alternate() & (BSY | DRQ), BSY);
  assert.equal([ide.machine.parkedRequests, ide.machine.takeNotices().length], [1, 0]);
  // Neither another number nor a retry is meant for it.
  ide.machine.release(disk, 6);
  ide.machine.retry();
  ide.machine.settle();
  assert.is(ide.alternate() & BSY, BSY);
  ide.machine.release(disk, 7);
  ide.machine.settle();
  assert.is(ide.read(regs.IDE_STATUS), GOOD);
  // Nothing is held any more.
  assert.is(ide.execute({ command: ata.ATA_FLUSH_CACHE }), GOOD);
});

test('a reset ends the wait of a held or failed request, and nothing comes of it later', async () => {
  const ide = await ideWith(STOP);
  const [disk] = ide.machine.disks;
  assert.ok(disk !== undefined);
  for (const [command, kind, operation] of [
    [ata.ATA_FLUSH_CACHE, 'hold', 'flush'],
    [ata.ATA_READ_SECTORS, 'error', 'read'],
  ] as const) {
    ide.machine.addFault({ disk, kind, operations: [operation], times: 1 });
    ide.send({ command, count: 1 });
    ide.machine.advance(ide.machine.now() + 1_000_000);
    assert.is(ide.machine.parkedRequests, 1);
    ide.softReset();
    assert.is(ide.machine.parkedRequests, 0);
    ide.machine.release(disk);
    ide.machine.retry();
    assert.is(ide.machine.nextDeadline(), Number.POSITIVE_INFINITY);
    assert.is(ide.execute({ command: ata.ATA_READ_SECTORS, count: 1 }), GOOD | DRQ);
    ide.take(512);
  }
});

test('advance() comes back for a failed request at its time, and what else is due waits for the next call', async () => {
  const ide = await Ide.create({ flavour: 'debug', places: [[1, 0]] });
  const disk = ide.machine.addDisk({ bytes: BYTES, ...STOP });
  ide.controller.attach(disk, 0, 0);
  ide.machine.addFault({ disk, kind: 'error', operations: ['read'], times: 1 });
  ide.send({ command: ata.ATA_READ_SECTORS, count: 1 });
  ide.send({ command: ata.ATA_READ_SECTORS, count: 1 }, 1);
  const due = ide.machine.nextDeadline();
  assert.is(ide.machine.advance(due + 1_000_000), 'parked');
  assert.is(ide.machine.now(), due);
  assert.not.ok(ide.irq(1));
  ide.machine.settle();
  assert.ok(ide.irq(1));
  assert.not.ok(ide.irq(0));
  ide.machine.retry();
  ide.machine.settle();
  assert.ok(ide.irq(0));
});

test('requests go on in the order in which they were parked', async () => {
  const rig = await Rig.create('ahci', { bytes: BYTES, ...STOP });
  rig.machine.addFault({ disk: rig.disk, kind: 'error', operations: ['write'], times: 3 });
  const places = [30, 10, 20];
  const commands = rig.submit(
    places.map((lba) => ({ op: 'write', lba, sectors: 1, data: pattern(512, lba) })),
  );
  await go(rig, ...commands);
  assert.is(rig.machine.parkedRequests, 3);
  const ended: number[] = [];
  rig.machine.retry();
  while (ended.length < 3) {
    rig.step();
    for (const [i, command] of commands.entries()) {
      if (command.end !== null && !ended.includes(places[i] as number)) ended.push(places[i] as number);
    }
  }
  assert.equal(ended, places);
});

for (const where of ['memory', 'a synchronous medium', 'an asynchronous medium']) {
  test(`a snapshot holds parked requests: on ${where}`, async () => {
    const make = async () => {
      const { medium, left } = failing();
      const disk =
        where === 'memory'
          ? { bytes: BYTES }
          : { medium: where.includes(' asy') ? asyncMedium(medium) : medium };
      const rig = await Rig.create('ahci', { ...disk, ...STOP });
      return { rig, left, medium: where === 'memory' ? null : medium };
    };
    const first = await make();
    const { rig } = first;
    const data = pattern(4096, 2);
    if (where === 'memory')
      rig.machine.addFault({ disk: rig.disk, kind: 'error', operations: ['write'], times: 1 });
    else first.left.count = 1;
    const command = rig.prepare({ op: 'write', lba: 3, sectors: 8, data });
    rig.start(command);
    assert.is(await go(rig, command), 'waits');
    const snapshot = Snapshot.fromBytes(rig.machine.save().toBytes());
    const stored = async (machine: typeof rig.machine, medium: SyncMedium | null): Promise<Uint8Array> => {
      machine.retry();
      await machine.settleAsync();
      await machine.idleMedia();
      assert.is(machine.parkedRequests, 0);
      if (medium === null) return (machine.disks[0] as typeof rig.disk).read(3 * 512, 4096);
      const bytes = new Uint8Array(4096);
      medium.readv(3 * 512, [bytes]);
      return bytes;
    };
    assert.equal(await stored(rig.machine, first.medium), data);
    const second = await make();
    second.rig.machine.restore(snapshot);
    assert.is(second.rig.machine.parkedRequests, 1);
    assert.equal(await stored(second.rig.machine, second.medium), data);
  });
}

test('a read that a medium owes lands where it was to, after a restore too', async () => {
  const { medium, left } = failing();
  const data = pattern(4096, 6);
  medium.writev(0, [data]);
  const rig = await Rig.create('ahci', { medium, ...STOP });
  left.count = 1;
  const command = rig.prepare({ op: 'read', sectors: 8 });
  rig.start(command);
  assert.is(await go(rig, command), 'waits');
  const snapshot = Snapshot.fromBytes(rig.machine.save().toBytes());
  rig.machine.restore(snapshot);
  rig.machine.retry();
  assert.is(await go(rig, command), 'ended');
  assert.equal([command.end?.status, command.end?.data], ['ok', data]);
});

test('a medium that failed under the data is not asked again by a snapshot', async () => {
  const parks = async (restores: boolean): Promise<number> => {
    const { medium, left } = failing();
    const rig = await Rig.create('lsi53c895a', { medium, ...STOP });
    left.count = 1;
    const command = rig.prepare({ op: 'read', sectors: 64 });
    rig.start(command);
    let steps = 0;
    while (rig.machine.parkedRequests === 0) {
      assert.ok(command.end === null && rig.step());
      steps++;
      if (restores) rig.machine.restore(Snapshot.fromBytes(rig.machine.save().toBytes()));
    }
    return steps;
  };
  assert.is(await parks(true), await parks(false));
});
