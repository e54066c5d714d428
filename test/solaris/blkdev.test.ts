// Disks through bufs: what strategy does with what it is asked, and that every byte arrives on every controller.

import type { Page } from '../../src/kernel/index.ts';
import {
  DDI_DMA_INUSE,
  DDI_DMA_NOMAPPING,
  DDI_DMA_NORESOURCES,
  DDI_DMA_TOOBIG,
  DDI_FAILURE,
  EAGAIN,
  EFAULT,
  EINVAL,
  EIO,
  ENXIO,
  errorOfBind,
} from '../../src/solaris/index.ts';
import type { Solaris } from '../../src/solaris/kernel.ts';
import { assert, suite } from '../run/suite.ts';
import {
  bootDisk,
  content,
  drop,
  HIGH,
  hold,
  inUse,
  KINDS,
  MIB,
  move,
  process,
  rules,
} from './blkdev-rig.ts';
import { BASE, must, pattern, peek, poke } from './help.ts';

const test = suite('solaris blkdev');

for (const kind of KINDS) {
  test(`DRV-05 ${kind}: sectors of the disk arrive in memory that the device may not reach, wherever they begin`, async () => {
    const rig = await bootDisk({ kind });
    const before = inUse(rig);
    process(
      rig,
      66,
      function* (as) {
        for (const [offset, bytes] of [
          [0, 4096],
          [0x200, 0x10000],
          [0x64, 0x1e00],
          [1, 0x600],
          [0, 64 * 4096],
        ] as const) {
          const behind = yield* peek(rig.solaris, as, BASE + offset + bytes, 16);
          assert.equal(yield* move(rig, 'read', 3, bytes, BASE + offset), {
            error: 0,
            resid: 0,
            count: bytes,
          });
          assert.equal(
            yield* peek(rig.solaris, as, BASE + offset, bytes),
            content(1536, bytes),
            `${bytes} at ${offset}`,
          );
          assert.equal(
            yield* peek(rig.solaris, as, BASE + offset + bytes, 16),
            behind,
            `behind ${bytes} at ${offset}`,
          );
        }
      },
      HIGH,
    );
    assert.equal(rules(rig), []);
    assert.equal(inUse(rig), before);
  });

  test(`DRV-05 ${kind}: what is written is on the disk, and comes back`, async () => {
    const rig = await bootDisk({ kind });
    process(
      rig,
      80,
      function* (as) {
        const sent = yield* peek(rig.solaris, as, BASE, 80 * 4096);
        let block = 0;
        for (const [offset, bytes] of [
          [0, 512],
          [0x300, 0x3000],
          [0x7, 0x2200],
          [0x80, 70 * 4096],
        ] as const) {
          assert.equal(yield* move(rig, 'write', block, bytes, BASE + offset), {
            error: 0,
            resid: 0,
            count: bytes,
          });
          assert.equal(rig.medium.read(512 * block, bytes), sent.slice(offset, offset + bytes));
          block += bytes / 512;
        }
        assert.equal(rig.medium.read(512 * block, 512), content(512 * block, 512));
        assert.equal(yield* peek(rig.solaris, as, BASE, sent.length), sent);
      },
      HIGH,
    );
    assert.equal(rules(rig), []);
  });
}

test('DRV-03 what is no disk, no whole sector or behind the end is ENXIO, and nothing is moved', async () => {
  const rig = await bootDisk();
  const sectors = MIB / 512;
  process(rig, 2, function* () {
    for (const [block, bytes, dev] of [
      [0, 100, rig.disk.dev],
      [0, 513, rig.disk.dev],
      [sectors + 1, 512, rig.disk.dev],
      [sectors, 100, rig.disk.dev], // before it is the end of the disk
      [sectors + 1, 0, rig.disk.dev], // before it is nothing
      [-1, 512, rig.disk.dev],
      [0, 512, rig.disk.dev + 1],
    ] as const) {
      const held = yield* hold(rig, BASE, bytes, 'read', block, dev);
      assert.is(rig.solaris.bd_strategy(held.bp), 0);
      assert.is(yield* rig.solaris.biowait(held.bp), ENXIO);
      assert.is(held.bp.b_resid, bytes);
      drop(rig, held);
    }
  });
  assert.is(rig.medium.counters.reads, 0);
});

test('DRV-03 sectors of 4096 bytes: neither a part of one nor a start inside one', async () => {
  const rig = await bootDisk({ sectorBytes: 4096 });
  process(rig, 3, function* (as) {
    assert.is((yield* move(rig, 'read', 0, 512)).error, ENXIO);
    assert.is((yield* move(rig, 'read', 1, 4096)).error, ENXIO);
    assert.equal(yield* move(rig, 'read', 16, 8192, BASE + 0x800), { error: 0, resid: 0, count: 8192 });
    assert.equal(yield* peek(rig.solaris, as, BASE + 0x800, 8192), content(8192, 8192));
  });
});

test('DRV-03 a transfer at the very end, or of nothing, ends well and has moved nothing', async () => {
  const rig = await bootDisk();
  process(rig, 2, function* () {
    assert.equal(yield* move(rig, 'read', MIB / 512, 1024), { error: 0, resid: 1024, count: 1024 });
    assert.equal(yield* move(rig, 'write', MIB / 512, 1024), { error: 0, resid: 1024, count: 1024 });
    assert.equal(yield* move(rig, 'read', 5, 0), { error: 0, resid: 0, count: 0 });
  });
  assert.equal([rig.medium.counters.reads, rig.medium.counters.writes], [0, 0]);
});

test('DRV-03 the tail beyond the end is cut off the buf and counted as not moved', async () => {
  const rig = await bootDisk();
  process(rig, 3, function* (as) {
    const block = MIB / 512 - 2;
    assert.equal(yield* move(rig, 'read', block, 4096), { error: 0, resid: 3072, count: 1024 });
    assert.equal(yield* peek(rig.solaris, as, BASE, 1024), content(block * 512, 1024));
    assert.equal(yield* peek(rig.solaris, as, BASE + 1024, 3072), pattern(4096).slice(1024));
  });
});

test('DRV-03 a buf without memory for its copy buffer waits for it, and strategy does not', async () => {
  const rig = await bootDisk({ kind: 'aha1542' });
  const { allocator } = rig.solaris.kernel;
  const taken: Page[] = [];
  for (;;) {
    const page = allocator.alloc({ below: 16 * MIB, tag: 'hog' });
    if (page === null) break;
    taken.push(page);
  }
  process(
    rig,
    4,
    function* (as) {
      const held = yield* hold(rig, BASE, 0x4000, 'read', 0);
      rig.solaris.bd_strategy(held.bp);
      yield* rig.solaris.kernel.scheduler.delay(5e9);
      assert.is(rig.medium.counters.reads, 0);
      for (const page of taken) allocator.put(page);
      assert.is(yield* rig.solaris.biowait(held.bp), 0);
      drop(rig, held);
      assert.equal(yield* peek(rig.solaris, as, BASE, 0x4000), content(0, 0x4000));
    },
    HIGH,
  );
  assert.equal(rules(rig), []);
});

test('DRV-03 a buf without memory for a transfer of its own waits, too', async () => {
  const rig = await bootDisk();
  process(rig, 1, function* (as) {
    const held = yield* hold(rig, BASE, 4096, 'read', 0);
    rig.solaris.kernel.kmemFailures.failAll();
    rig.solaris.bd_strategy(held.bp);
    rig.solaris.kernel.kmemFailures.off();
    assert.is(yield* rig.solaris.biowait(held.bp), 0);
    drop(rig, held);
    assert.equal(yield* peek(rig.solaris, as, BASE, 4096), content(0, 4096));
  });
});

test('DRV-04 each way in which binding fails has its errno', () => {
  assert.equal([DDI_DMA_NORESOURCES, DDI_DMA_TOOBIG, DDI_DMA_NOMAPPING, DDI_DMA_INUSE].map(errorOfBind), [
    EAGAIN,
    EINVAL,
    EFAULT,
    EFAULT,
  ]);
});

test('DRV-04 a copy buffer that there can never be is EAGAIN, with every byte left', async () => {
  const ram = [
    { base: 0, bytes: 2 * MIB },
    { base: 2 ** 32, bytes: 8 * MIB },
  ];
  // Of the memory in reach there is less than the transfer wants, even if all of it were free.
  const bytes = 3 * MIB;
  const options = { dmaCopyBufferBytes: 4 * MIB };
  const rig = await bootDisk({ kind: 'ahci-32bit', ram, options, diskBytes: 4 * MIB });
  process(
    rig,
    bytes / 4096,
    function* () {
      assert.equal(yield* move(rig, 'read', 0, bytes), { error: EAGAIN, resid: bytes, count: bytes });
    },
    HIGH,
  );
});

test('DRV-06 a transfer that does not fit the hardware goes window by window', async () => {
  const rig = await bootDisk({ kind: 'nvme-mdts1' });
  process(rig, 16, function* (as) {
    assert.equal(yield* move(rig, 'read', 7, 0xf000, BASE + 0x200), { error: 0, resid: 0, count: 0xf000 });
    assert.equal(yield* peek(rig.solaris, as, BASE + 0x200, 0xf000), content(7 * 512, 0xf000));
  });
  assert.is(rig.medium.counters.reads, 8);
});

test('DRV-06 a window that there is not, or of no whole sectors, ends the transfer: EFAULT, and the rest is left', async () => {
  const rig = await bootDisk({ kind: 'nvme-mdts1' });
  const { dmaWindow } = rig.solaris.kernel as Solaris; // what the driver itself calls
  const { ddi_dma_getwin, ddi_dma_ncookies } = dmaWindow;
  const refuse: typeof ddi_dma_getwin = (handle, win, ...to) =>
    win < 2 ? ddi_dma_getwin(handle, win, ...to) : DDI_FAILURE;
  process(rig, 16, function* () {
    dmaWindow.ddi_dma_getwin = refuse;
    const [error, resid, count] = [EFAULT, 0xf000 - 2 * 0x2000, 0xf000];
    assert.equal(yield* move(rig, 'read', 0, 0xf000), { error, resid, count });
    dmaWindow.ddi_dma_getwin = ddi_dma_getwin;
    dmaWindow.ddi_dma_ncookies = (handle) => ddi_dma_ncookies(handle) - 1;
    assert.equal(yield* move(rig, 'read', 0, 512, BASE + 0xf00), { error, resid: 512, count: 512 });
    dmaWindow.ddi_dma_ncookies = ddi_dma_ncookies;
    assert.is((yield* move(rig, 'read', 0, 0xf000)).error, 0); // nothing was left behind
  });
  assert.equal(rules(rig), []);
});

test('DRV-06 the memory is the caller’s again before the buf ends', async () => {
  const rig = await bootDisk({ kind: 'aha1542' });
  process(
    rig,
    4,
    function* () {
      const held = yield* hold(rig, BASE, 0x4000, 'read', 0);
      let seen: unknown = null;
      held.bp.b_iodone = (bp) => {
        seen = [bp.bindings, bp.b_resid, rig.machine.memory.read8(must(held.cookie.shadow?.page(0)).phys)];
        bp.b_iodone = null;
        rig.solaris.biodone(bp);
        return 0;
      };
      rig.solaris.bd_strategy(held.bp);
      assert.is(yield* rig.solaris.biowait(held.bp), 0);
      assert.equal(seen, [0, 0, content(0, 1)[0]]);
      drop(rig, held);
    },
    HIGH,
  );
});

test('DRV-07 a media error in window k leaves the bytes of the windows from k on', async () => {
  const rig = await bootDisk({ kind: 'nvme-mdts1' });
  rig.machine.addFault({ disk: rig.medium, kind: 'error', operations: ['read'], first: 35, last: 35 });
  process(rig, 16, function* (as) {
    assert.equal(yield* move(rig, 'read', 0, 0x10000), {
      error: EIO,
      resid: 0x10000 - 0x4000,
      count: 0x10000,
    });
    assert.equal(yield* peek(rig.solaris, as, BASE, 0x4000), content(0, 0x4000));
    assert.equal(yield* move(rig, 'read', 0, 0x4000), { error: 0, resid: 0, count: 0x4000 });
  });
  assert.equal(rules(rig), []);
});

for (const kind of ['aha1542', 'piix-ide', 'ahci', 'nvme', 'virtio-blk', 'lsi53c895a']) {
  test(`DRV-07 ${kind}: a media error is EIO, and the disk goes on`, async () => {
    const rig = await bootDisk({ kind });
    rig.machine.addFault({ disk: rig.medium, kind: 'error', operations: ['read'], first: 4, last: 4 });
    rig.machine.addFault({ disk: rig.medium, kind: 'error', operations: ['write'], first: 40, last: 40 });
    process(rig, 2, function* (as) {
      assert.equal(yield* move(rig, 'read', 0, 8192), { error: EIO, resid: 8192, count: 8192 });
      yield* poke(rig.solaris, as, BASE, pattern(8192, 2)); // what was not read may be anything
      assert.equal(yield* move(rig, 'write', 33, 8192), { error: EIO, resid: 8192, count: 8192 });
      assert.equal(yield* move(rig, 'read', 5, 8192), { error: 0, resid: 0, count: 8192 });
      assert.equal(yield* peek(rig.solaris, as, BASE, 8192), content(5 * 512, 8192));
    });
    assert.equal(rules(rig), []);
  });
}
