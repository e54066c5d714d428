import { PAGE_SIZE, type Sleeps, VM_READ } from '../../src/kernel/index.ts';
import {
  type Bio,
  EFAULT,
  EINTR,
  EINVAL,
  EIO,
  EREMOTEIO,
  GFP_KERNEL,
  IS_ERR,
  iov_iter_advance,
  READ,
  WRITE,
} from '../../src/linux/index.ts';
import { assert, suite } from '../run/suite.ts';
import { assertBug, must } from './help.ts';
import {
  countsAt,
  FAR,
  finish,
  iovs,
  isaLimit,
  iterOver,
  mapFails,
  mapPieces,
  rig,
  SCATTERED,
  transfer,
  vecsOf,
  withPages,
  withRequest,
} from './mapper.ts';
import { BASE, pageAt, peek } from './user.ts';

const test = suite('blk_rq_unmap_user');

// ---- defects of 4.8 that are not here

for (const far of [false, true]) {
  test(`MAP-X1 a read that fails when it is appended leaves user memory alone${far ? ', bounced too' : ''}`, async () => {
    const it = await rig(far ? FAR : {});
    if (far) isaLimit(it);
    withPages(it, 4, function* (mm, bytes) {
      it.linux.blk_queue_max_hw_sectors(it.q, 8);
      assert.is(yield* mapFails(it, READ, iovs([BASE + 1, 2 * PAGE_SIZE])), -EINVAL);
      assert.is(yield* mapFails(it, READ, iovs([BASE, 2 * PAGE_SIZE])), -EINVAL);
      assert.equal(yield* peek(it.linux, mm, BASE, 4 * PAGE_SIZE), bytes);
      assert.is(it.linux.nr_bounce(), 0);
      assert.equal(countsAt(mm, BASE, 4), [1, 1, 1, 1]);
    });
  });
}

test('MAP-X2 a failure after several bios gives up all of them', async () => {
  const it = await rig(FAR);
  isaLimit(it);
  withPages(it, 4, function* (mm) {
    // One bio a piece: the first two fit, the third does not.
    it.linux.blk_queue_max_hw_sectors(it.q, 16);
    yield* withRequest(it, READ, function* (rq) {
      for (const n of [0, 1])
        assert.is(yield* mapPieces(it, rq, READ, iovs([BASE + n * PAGE_SIZE, PAGE_SIZE])), 0);
      const { bio } = rq;
      it.linux.blk_rq_abort_user(rq, null);
      assert.equal([rq.bio, bio?.live], [null, false]);
    });
    assert.equal(countsAt(mm, BASE, 4), [1, 1, 1, 1]);
    assert.is(it.linux.nr_bounce(), 0);
  });
});

test('MAP-X3 a copy of an iterator that has moved into a piece lands where it stands', async () => {
  const it = await rig();
  withPages(it, 2, function* (mm, bytes) {
    yield* withRequest(it, READ, function* (rq) {
      const iter = iterOver(READ, iovs([BASE + 1, 1000], [BASE + PAGE_SIZE, 1000]));
      iov_iter_advance(iter, 300);
      assert.is(yield* it.linux.blk_rq_map_user_iov(it.q, rq, null, iter, GFP_KERNEL), 0);
      assert.is(rq.__data_len, 1700);
      assert.is(yield* finish(it, rq), 0);
    });
    assert.equal(yield* peek(it.linux, mm, BASE, 301), bytes.slice(0, 301));
    assert.equal(yield* peek(it.linux, mm, BASE + 301, 700), it.device.slice(0, 700));
    assert.equal(yield* peek(it.linux, mm, BASE + PAGE_SIZE, 1000), it.device.slice(700, 1700));
  });
});

test('MAP-X4 a page that the queue refuses is freed, and nothing behind it is taken', async () => {
  const it = await rig(SCATTERED);
  const { linux, q } = it;
  linux.blk_queue_max_hw_sectors(q, 8);
  withPages(it, 4, function* (mm) {
    const iov = iovs([BASE, 512], [BASE + PAGE_SIZE, PAGE_SIZE], [BASE + 3 * PAGE_SIZE, 512]);
    const mapped = yield* linux.bio_map_user_iov(q, iterOver(WRITE, iov), GFP_KERNEL);
    if (IS_ERR(mapped)) throw new Error('no bio');
    assert.is(mapped.bi_iter.bi_size, 512);
    assert.equal(countsAt(mm, BASE, 4), [2, 1, 1, 1]);
    yield* linux.bio_unmap_user(mapped);
    const { mark } = linux.kernel.allocator;
    const copied = yield* linux.bio_copy_user_iov(
      q,
      null,
      iterOver(READ, iovs([BASE + 1, 3 * PAGE_SIZE])),
      GFP_KERNEL,
    );
    if (IS_ERR(copied)) throw new Error('no bio');
    assert.equal([copied.bi_iter.bi_size, linux.kernel.allocator.since(mark).length], [PAGE_SIZE, 1]);
    linux.bio_abort_user(copied);
  });
});

test('MAP-X5 a short read through a copy shows zeros, never what was in the page', async () => {
  const it = await rig({ poison: true });
  withPages(it, 2, function* (mm) {
    it.outcome.residual = 5000;
    assert.is(yield* transfer(it, READ, iovs([BASE + 1, 6000])), 0);
    assert.equal(yield* peek(it.linux, mm, BASE + 1, 1000), it.device.slice(0, 1000));
    assert.equal(yield* peek(it.linux, mm, BASE + 1001, 5000), new Uint8Array(5000));
  });
});

test('MAP-X5 the padding of a written copy is zeros', async () => {
  const it = await rig({ poison: true });
  withPages(it, 1, function* () {
    it.linux.blk_queue_dma_pad(it.q, 63);
    yield* withRequest(it, WRITE, function* (rq) {
      assert.is(yield* mapPieces(it, rq, WRITE, iovs([BASE, 100])), 0);
      const [page] = vecsOf(rq.bio)[0] ?? [null];
      const phys = must(page).phys;
      assert.equal(
        it.linux.kernel.memory.readBytes(phys + 100, PAGE_SIZE - 100),
        new Uint8Array(PAGE_SIZE - 100),
      );
      yield* finish(it, rq);
      assert.equal(it.segments, [[phys, 128]]);
    });
  });
});

test('MAP-X6 pieces that continue each other inside a page are one vec with one pin', async () => {
  const it = await rig();
  withPages(it, 2, function* (mm, bytes) {
    const iov = iovs([BASE, 512], [BASE + 512, 1024], [BASE + 1536, PAGE_SIZE]);
    yield* withRequest(it, WRITE, function* (rq) {
      assert.is(yield* mapPieces(it, rq, WRITE, iov), 0);
      assert.equal(
        vecsOf(rq.bio).map(([, offset, length]) => [offset, length]),
        [
          [0, 4096],
          [0, 1536],
        ],
      );
      assert.equal(countsAt(mm, BASE, 2), [2, 2]);
      assert.is(yield* finish(it, rq), 0);
    });
    assert.equal(it.device.slice(0, 5632), bytes.slice(0, 5632));
    // The same page twice, not continued: two pins, and two are dropped.
    assert.is(yield* transfer(it, WRITE, iovs([BASE, 512], [BASE, 512])), 0);
    assert.equal(countsAt(mm, BASE, 2), [1, 1]);
  });
});

// ---- unmapping

test('UNM-01 unmapping NULL is nothing; of several bios all are unmapped, and the first error counts', async () => {
  const it = await rig();
  withPages(it, 4, function* (mm) {
    assert.is(yield* it.linux.blk_rq_unmap_user(null), 0);
    yield* withRequest(it, READ, function* (rq) {
      for (const n of [0, 1, 2]) {
        assert.is(yield* mapPieces(it, rq, READ, iovs([BASE + n * PAGE_SIZE + (n === 2 ? 0 : 1), 512])), 0);
      }
      yield* mm.munmap(BASE, PAGE_SIZE);
      assert.is(yield* finish(it, rq), -EFAULT);
    });
    assert.equal(yield* peek(it.linux, mm, BASE + PAGE_SIZE + 1, 512), it.device.slice(512, 1024));
    assert.equal(yield* peek(it.linux, mm, BASE + 2 * PAGE_SIZE, 512), it.device.slice(1024, 1536));
    assert.is(pageAt(mm, BASE + 2 * PAGE_SIZE).count, 1);
  });
});

test('UNM-02 pages that were read into become dirty, whatever the outcome; those of a write do not', async () => {
  const it = await rig();
  withPages(it, 2, function* (mm) {
    for (const [direction, error] of [
      [READ, 0],
      [READ, -EIO],
      [WRITE, 0],
    ] as const) {
      const page = pageAt(mm, BASE);
      page.flags = 0;
      it.outcome.error = error;
      assert.is(yield* transfer(it, direction, iovs([BASE, 512])), 0);
      assert.is(it.linux.PageDirty(page), direction === READ);
      assert.is(page.count, 1);
    }
  });
});

test('UNM-02 dirtying waits for the lock of the page', async () => {
  const it = await rig();
  const { linux } = it;
  withPages(it, 1, function* (mm) {
    const page = pageAt(mm, BASE);
    yield* withRequest(it, READ, function* (rq) {
      assert.is(yield* mapPieces(it, rq, READ, iovs([BASE, 512])), 0);
      yield* linux.lock_page(page);
      linux.kernel.scheduler.spawn('unlock', function* () {
        yield* linux.kernel.scheduler.delay(50_000);
        linux.unlock_page(page);
      });
      const before = linux.kernel.machine.now();
      assert.is(yield* finish(it, rq), 0);
      assert.ok(linux.kernel.machine.now() >= before + 49_000);
    });
  });
});

test('UNM-03 all bytes of a copied read are copied out, even after an error; -EFAULT where they cannot be', async () => {
  const it = await rig();
  withPages(it, 3, function* (mm) {
    it.outcome.error = -EIO;
    assert.is(yield* transfer(it, READ, iovs([BASE + 1, 1000])), 0);
    it.outcome.error = 0;
    assert.equal(yield* peek(it.linux, mm, BASE + 1, 1000), it.device.slice(0, 1000));
    yield* withRequest(it, READ, function* (rq) {
      assert.is(yield* mapPieces(it, rq, READ, iovs([BASE + 1, 2 * PAGE_SIZE])), 0);
      yield* mm.mprotect(BASE + PAGE_SIZE, PAGE_SIZE, VM_READ);
      assert.is(yield* finish(it, rq), -EFAULT);
    });
    assert.equal(yield* peek(it.linux, mm, BASE + 1, PAGE_SIZE - 1), it.device.slice(0, PAGE_SIZE - 1));
  });
});

test('UNM-03 the pieces were copied when they were mapped: changing them later has no effect', async () => {
  const it = await rig();
  withPages(it, 2, function* (mm, bytes) {
    const iov = iovs([BASE + 1, 500], [BASE + PAGE_SIZE, 500]);
    yield* withRequest(it, READ, function* (rq) {
      assert.is(yield* mapPieces(it, rq, READ, iov), 0);
      for (const piece of iov) Object.assign(piece, { iov_base: BASE + 2000, iov_len: 3 });
      iov.length = 0;
      assert.is(yield* finish(it, rq), 0);
    });
    assert.equal(yield* peek(it.linux, mm, BASE + 1, 500), it.device.slice(0, 500));
    assert.equal(yield* peek(it.linux, mm, BASE + PAGE_SIZE, 500), it.device.slice(500, 1000));
    assert.equal(yield* peek(it.linux, mm, BASE + 2000, 3), bytes.slice(2000, 2003));
  });
});

test('UNM-04 without user memory nothing is copied, the pages are freed, and it is -EINTR for both directions', async () => {
  const it = await rig();
  const { linux } = it;
  for (const direction of [READ, WRITE]) {
    withPages(it, 1, function* (mm, bytes) {
      yield* withRequest(it, direction, function* (rq) {
        assert.is(yield* mapPieces(it, rq, direction, iovs([BASE + 1, 512])), 0);
        const { bio } = rq;
        yield* linux.blk_execute_rq(it.q, null, rq, false);
        const worker = linux.kernel.scheduler.spawn('worker', () => linux.blk_rq_unmap_user(bio), {
          kthread: true,
        });
        assert.is(yield* linux.kernel.scheduler.join(worker), -EINTR);
      });
      assert.equal(yield* peek(linux, mm, BASE, 1024), bytes.slice(0, 1024));
    });
  }
});

test('UNM-05 unmapping in an interrupt, as another process, or twice is a bug', async () => {
  const it = await rig();
  const { linux } = it;
  const mapped = function* (body: (bio: Bio | null) => Sleeps<void>): Sleeps<void> {
    yield* withRequest(it, READ, function* (rq) {
      assert.is(yield* mapPieces(it, rq, READ, iovs([BASE + 1, 512])), 0);
      const { bio } = rq;
      yield* linux.blk_execute_rq(it.q, null, rq, false);
      yield* body(bio);
    });
  };
  assertBug('UNM-05', () =>
    withPages(it, 1, () =>
      mapped(function* (bio) {
        yield* linux.blk_rq_unmap_user(bio);
        yield* linux.blk_rq_unmap_user(bio);
      }),
    ),
  );
  assertBug('UNM-05', () =>
    withPages(it, 1, () =>
      mapped(function* (bio) {
        const other = linux.kernel.spawnProcess('other', () => linux.blk_rq_unmap_user(bio));
        yield* linux.kernel.scheduler.join(other);
      }),
    ),
  );
  assertBug('UNM-05', () =>
    linux.kernel.cpu.interrupt('test', 1, () => void linux.blk_rq_unmap_user(null).next()),
  );
});

test('UNM-06 a bio that its end has moved forward is unmapped whole', async () => {
  const it = await rig(SCATTERED);
  withPages(it, 4, function* (mm) {
    yield* withRequest(it, READ, function* (rq) {
      assert.is(yield* mapPieces(it, rq, READ, iovs([BASE, 4 * PAGE_SIZE])), 0);
      const { bio } = rq;
      yield* it.linux.blk_execute_rq(it.q, null, rq, false);
      assert.equal([bio?.bi_iter.bi_size, bio?.bi_vcnt], [0, 4]);
      assert.is(yield* it.linux.blk_rq_unmap_user(bio), 0);
    });
    assert.equal(countsAt(mm, BASE, 4), [1, 1, 1, 1]);
    assert.ok([0, 1, 2, 3].every((n) => it.linux.PageDirty(pageAt(mm, BASE + n * PAGE_SIZE))));
  });
});

test('MAP-22 -EREMOTEIO is how a request ends, never how mapping does', async () => {
  const it = await rig();
  withPages(it, 1, function* () {
    it.outcome.error = -EREMOTEIO;
    yield* withRequest(it, READ, function* (rq) {
      assert.is(yield* mapPieces(it, rq, READ, iovs([BASE, 512])), 0);
      const { bio } = rq;
      assert.is(yield* it.linux.blk_execute_rq(it.q, null, rq, false), -EIO);
      assert.equal([rq.errors, bio?.bi_error], [-EREMOTEIO, -EREMOTEIO]);
      assert.is(yield* it.linux.blk_rq_unmap_user(bio), 0);
    });
  });
});
