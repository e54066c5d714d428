// Many bufs at once, the hardware's slots, time-outs, devices that go, and drivers that do wrong.

import type { DriverCommand } from '../../src/drivers/index.ts';
import { Random, type Sleeps } from '../../src/kernel/index.ts';
import {
  B_READ,
  DDI_FAILURE,
  DDI_SUCCESS,
  DKIOCFLUSHWRITECACHE,
  DKIOCGMEDIAINFO,
  EFAULT,
  EIO,
  ENOTTY,
  ENXIO,
} from '../../src/solaris/index.ts';
import { altered } from '../drivers/altered.ts';
import { assert, suite } from '../run/suite.ts';
import {
  type BdRig,
  bootDisk,
  content,
  drop,
  type Held,
  HIGH,
  hold,
  inUse,
  MIB,
  move,
  process,
  rules,
} from './blkdev-rig.ts';
import { BASE, inThread, peek } from './help.ts';

const test = suite('solaris blkdev queue');

/** Starts `count` reads of a page each, to pages of their own; what waits for all of them. */
function* startReads(rig: BdRig, count: number): Sleeps<Held[]> {
  const held: Held[] = [];
  for (let i = 0; i < count; i++) held.push(yield* hold(rig, BASE + i * 4096, 4096, 'read', i * 8));
  for (const { bp } of held) rig.solaris.bd_strategy(bp);
  return held;
}

function* endAll(rig: BdRig, held: readonly Held[]): Sleeps<number[]> {
  const errors: number[] = [];
  for (const one of held) {
    errors.push(yield* rig.solaris.biowait(one.bp));
    drop(rig, one);
  }
  return errors;
}

for (const kind of ['aha1542', 'piix-ide', 'ahci', 'ahci-1slot', 'nvme', 'virtio-blk', 'lsi53c895a']) {
  test(`DRV-01 ${kind}: more bufs than the hardware has slots wait, and strategy does not`, async () => {
    const rig = await bootDisk({ kind, options: { accessChance: 0.01, seed: 3 } });
    const count = 200;
    process(
      rig,
      count,
      function* (as) {
        const held = yield* startReads(rig, count);
        assert.equal(new Set(yield* endAll(rig, held)), new Set([0]));
        assert.equal(yield* peek(rig.solaris, as, BASE, count * 4096), content(0, count * 4096));
      },
      { placement: 'scatter' },
    );
    assert.equal(rules(rig), []);
  });
}

test('DRV-08 many bufs that are copied, with interrupts that come in at any access', async () => {
  const rig = await bootDisk({ kind: 'ahci', options: { accessChance: 0.2, seed: 9 } });
  const count = 60;
  process(rig, 2 * count, function* (as) {
    const held: Held[] = [];
    for (let i = 0; i < count; i++) held.push(yield* hold(rig, BASE + i * 8192 + 1, 4096, 'read', i * 8));
    for (const { bp } of held) rig.solaris.bd_strategy(bp);
    assert.equal(new Set(yield* endAll(rig, held)), new Set([0]));
    for (let i = 0; i < count; i++)
      assert.equal(yield* peek(rig.solaris, as, BASE + i * 8192 + 1, 4096), content(i * 4096, 4096), `${i}`);
    held.length = 0;
    for (let i = 0; i < count; i++) {
      const op = i % 2 === 0 ? 'write' : 'read';
      held.push(yield* hold(rig, BASE + i * 8192 + 1, 4096, op, (count - i) * 8));
    }
    for (const { bp } of held) rig.solaris.bd_strategy(bp);
    assert.equal(new Set(yield* endAll(rig, held)), new Set([0]));
    for (let i = 0; i < count; i += 2)
      assert.equal(rig.medium.read((count - i) * 4096, 4096), content(i * 4096, 4096), `${i}`);
  });
  assert.equal(rules(rig), []);
});

test('INTR-04 b_iodone may call strategy: a chain of transfers from interrupts', async () => {
  const rig = await bootDisk({ kind: 'ahci-1slot' });
  process(rig, 1, function* (as) {
    const held = yield* hold(rig, BASE, 4096, 'read', 0);
    let left = 40;
    held.bp.b_iodone = (bp) => {
      assert.is(bp.b_resid, 0);
      if (left-- === 0) bp.b_iodone = null;
      else bp.b_lblkno += 8;
      if (bp.b_iodone === null) rig.solaris.biodone(bp);
      else rig.solaris.bd_strategy(bp);
      return 0;
    };
    rig.solaris.bd_strategy(held.bp);
    assert.is(yield* rig.solaris.biowait(held.bp), 0);
    drop(rig, held);
    assert.equal(yield* peek(rig.solaris, as, BASE, 4096), content(40 * 4096, 4096));
  });
  assert.is(rig.medium.counters.reads, 41);
});

test('two disks of one controller: each gets what is its own, and neither waits for ever', async () => {
  for (const kind of ['piix-ide', 'ahci', 'aha1542', 'lsi53c895a']) {
    const rig = await bootDisk({ kind, disks: 2 });
    const random = new Random(5);
    process(rig, 64, function* (as) {
      const held: Held[] = [];
      const places = Array.from({ length: 64 }, () => random.below(2));
      for (const [i, place] of places.entries()) {
        const { dev } = rig.host.disks[place] ?? rig.disk;
        held.push(yield* hold(rig, BASE + i * 4096, 4096, 'read', i * 8, dev));
      }
      for (const { bp } of held) rig.solaris.bd_strategy(bp);
      assert.equal(new Set(yield* endAll(rig, held)), new Set([0]));
      for (const [i, place] of places.entries())
        assert.equal(yield* peek(rig.solaris, as, BASE + i * 4096, 4096), content(i * 4096, 4096, place));
    });
    assert.equal(rules(rig), []);
  }
});

test('a transfer leaves nothing behind, and the next one needs nothing new', async () => {
  const rig = await bootDisk();
  process(rig, 8, function* () {
    yield* endAll(rig, yield* startReads(rig, 8));
    const { made } = rig.disk;
    for (let i = 0; i < 20; i++) yield* endAll(rig, yield* startReads(rig, 8));
    assert.equal([made, rig.disk.made, rig.disk.busy], [8, 8, 0]);
  });
});

test('a command that takes too long is given up: EIO, and the disk goes on', async () => {
  const rig = await bootDisk({ attach: { timeoutNs: 1e9 } });
  const { scheduler } = rig.solaris.kernel;
  rig.machine.addFault({ disk: rig.medium, kind: 'delay', times: 1, argument: 1e15 });
  process(rig, 1, function* () {
    assert.equal(yield* move(rig, 'read', 0, 4096), { error: EIO, resid: 4096, count: 4096 });
    assert.ok(scheduler.now() >= 1e9 && scheduler.now() < 40e9);
    assert.is((yield* move(rig, 'read', 0, 4096)).error, 0);
  });
  assert.equal(rules(rig), []);
});

test('done-lost a driver that forgets a command: reported, reset, and the buf ends', async () => {
  const calls: string[] = [];
  let forget = true;
  const attach = altered((driver) => ({
    submit: (command) => forget || driver.submit(command),
    abort: () => void calls.push('abort'),
    reset: () => void calls.push('reset'),
  }));
  const rig = await bootDisk({ attach: { attach, timeoutNs: 1e9 } });
  process(rig, 1, function* () {
    assert.equal(yield* move(rig, 'read', 0, 4096), { error: EIO, resid: 4096, count: 4096 });
    forget = false;
    assert.is((yield* move(rig, 'read', 0, 4096)).error, 0);
  });
  assert.equal([calls, rules(rig)], [['abort', 'reset'], ['done-lost']]);
});

test('done-twice a driver that ends a command again is reported, and the buf ends once', async () => {
  let last: DriverCommand | null = null;
  const attach = altered((driver) => ({
    submit: (command) => {
      last = command;
      return driver.submit(command);
    },
  }));
  const rig = await bootDisk({ attach: { attach } });
  process(rig, 1, function* () {
    assert.is((yield* move(rig, 'read', 0, 4096)).error, 0);
    const command = last as unknown as DriverCommand;
    command.done(command);
  });
  assert.equal(rules(rig), ['done-twice']);
});

test('a driver that refuses commands without having any is asked again, and not for ever', async () => {
  let refusals = 3;
  const attach = altered((driver) => ({
    submit: (command) => (refusals > 0 ? refusals-- < 0 : driver.submit(command)),
  }));
  const rig = await bootDisk({ attach: { attach } });
  process(rig, 1, function* () {
    assert.is((yield* move(rig, 'read', 0, 4096)).error, 0);
    refusals = 1000;
    assert.equal(yield* move(rig, 'read', 0, 4096), { error: EIO, resid: 4096, count: 4096 });
    assert.ok(refusals > 980);
  });
});

test('a command that fails on its way is sent again, and not for ever', async () => {
  let failures = 2;
  let sent = 0;
  const attach = altered((driver) => ({
    submit: (command) => {
      sent++;
      if (failures-- <= 0) return driver.submit(command);
      command.status = 'transport-error';
      command.done(command);
      return true;
    },
  }));
  const rig = await bootDisk({ attach: { attach } });
  process(rig, 1, function* (as) {
    assert.is((yield* move(rig, 'read', 0, 4096)).error, 0);
    assert.equal(yield* peek(rig.solaris, as, BASE, 4096), content(0, 4096));
    assert.is(sent, 3);
    failures = 1000;
    assert.is((yield* move(rig, 'read', 0, 4096)).error, EIO);
    assert.is(sent, 9);
  });
});

test('a disk that is pulled is ENXIO', async () => {
  const rig = await bootDisk();
  process(rig, 1, function* () {
    rig.controller.detachDisk(0);
    assert.is((yield* move(rig, 'read', 0, 4096)).error, ENXIO);
  });
});

test('DKIOCGMEDIAINFO and DKIOCFLUSHWRITECACHE', async () => {
  for (const kind of ['aha1542', 'piix-ide', 'ahci', 'nvme', 'virtio-blk', 'lsi53c895a']) {
    const rig = await bootDisk({ kind, sectorBytes: kind === 'nvme' ? 4096 : 512 });
    const { disk, solaris, medium } = rig;
    process(rig, 1, function* (as) {
      assert.is(yield* solaris.bd_ioctl(disk.dev, DKIOCGMEDIAINFO, BASE + 8), 0);
      const words = new Uint32Array((yield* peek(solaris, as, BASE + 8, 16)).buffer);
      assert.equal([...words], [0x10001, medium.sectorBytes, MIB / medium.sectorBytes, 0]);
      const { flushes } = medium.counters;
      assert.is(yield* solaris.bd_ioctl(disk.dev, DKIOCFLUSHWRITECACHE, 0), 0);
      assert.is(medium.counters.flushes, flushes + 1);
      assert.is(yield* solaris.bd_ioctl(disk.dev, DKIOCGMEDIAINFO, 0x10), EFAULT);
      assert.is(yield* solaris.bd_ioctl(disk.dev, 1, 0), ENOTTY);
      assert.is(yield* solaris.bd_ioctl(disk.dev + 1, DKIOCGMEDIAINFO, BASE), ENXIO);
      rig.machine.addFault({ disk: medium, kind: 'error', operations: ['flush'] });
      assert.is(yield* solaris.bd_ioctl(disk.dev, DKIOCFLUSHWRITECACHE, 0), EIO);
    });
  }
});

test('detaching gives everything back, and waits for transfers', async () => {
  for (const kind of ['aha1542', 'piix-ide', 'ahci', 'nvme', 'virtio-blk', 'lsi53c895a']) {
    const rig = await bootDisk({ kind });
    const { solaris, host } = rig;
    process(
      rig,
      4,
      function* () {
        const held = yield* startReads(rig, 4);
        assert.is(solaris.bd_detach(host), DDI_FAILURE);
        yield* endAll(rig, held);
      },
      HIGH,
    );
    assert.is(solaris.bd_detach(host), DDI_SUCCESS);
    assert.equal([...solaris.kmem_in_use()], []);
    assert.equal([...solaris.dma_bound()], []);
    assert.is(solaris.kernel.allocator.usage().get('dma memory') ?? 0, 0);
    assert.equal([...rig.machine.guard.live], []);
    process(rig, 1, function* () {
      assert.is((yield* move(rig, 'read', 0, 512)).error, ENXIO);
    });
    assert.equal(rules(rig), []);
  }
});

test('map-leak memory that a driver keeps when it goes is reported', async () => {
  const attach = altered(() => ({ detach: () => undefined }));
  const rig = await bootDisk({ attach: { attach } });
  assert.is(rig.solaris.bd_detach(rig.host), DDI_SUCCESS);
  assert.equal(rules(rig), ['map-leak']);
  assert.equal([...rig.solaris.dma_bound()], []);
});

test('a disk can be attached by a thread, and used by another', async () => {
  const rig = await bootDisk();
  assert.is(rig.solaris.bd_detach(rig.host), DDI_SUCCESS);
  const host = inThread(rig.solaris, function* () {
    return rig.solaris.bd_attach(rig.controller);
  });
  const again = { ...rig, host, disk: host.disks[0] ?? rig.disk };
  assert.is(again.disk.name, 'blk1');
  process(again, 1, function* (as) {
    const held = yield* hold(again, BASE, 4096, 'read', 0);
    assert.ok((held.bp.b_flags & B_READ) !== 0);
    again.solaris.bd_strategy(held.bp);
    assert.is(yield* again.solaris.biowait(held.bp), 0);
    drop(again, held);
    assert.equal(yield* peek(again.solaris, as, BASE, 4096), content(0, 4096));
  });
  assert.ok(inUse(again) !== null);
});
