import { PAGE_SIZE, type Sleeps } from '../../src/kernel/index.ts';
import {
  DDI_UMEMLOCK_READ,
  EFAULT,
  ENOMEM,
  Pointer,
  Project,
  type SolarisApi,
  type UmemCookie,
  Zone,
} from '../../src/solaris/index.ts';
import { assert, suite } from '../run/suite.ts';
import { asUser, BASE, boot, filled, must } from './help.ts';

const test = suite('solaris locked memory limits');

/** Locks so many pages: the cookie, or the errno. */
function* lock(solaris: SolarisApi, pages: number): Sleeps<UmemCookie | number> {
  const cookiep = new Pointer<UmemCookie>();
  const error = yield* solaris.ddi_umem_lock(BASE, pages * PAGE_SIZE, DDI_UMEMLOCK_READ, cookiep);
  return cookiep.value ?? error;
}

function cookieOf(result: UmemCookie | number): UmemCookie {
  if (typeof result === 'number') throw new Error(`errno ${result}`);
  return result;
}

/** A project and a zone with limits in pages. */
function limits(projectPages: number, zonePages: number) {
  const project = new Project(10);
  const zone = new Zone('web');
  project.max_locked_memory.limit = projectPages * PAGE_SIZE;
  zone.max_locked_memory.limit = zonePages * PAGE_SIZE;
  const used = () => [project.max_locked_memory.usage / PAGE_SIZE, zone.max_locked_memory.usage / PAGE_SIZE];
  return { project, zone, used };
}

test('ULOCK-06 ULOCK-20 project, then zone: as much as the limit and no more, else ENOMEM', async () => {
  const solaris = await boot();
  for (const [projectPages, zonePages] of [
    [3, 8],
    [8, 3],
    [3, Infinity],
    [Infinity, 3],
  ] as const) {
    const { project, zone, used } = limits(projectPages, zonePages);
    asUser(
      solaris,
      function* (as, proc) {
        yield* filled(solaris, as, 4);
        assert.is(yield* lock(solaris, 4), ENOMEM);
        assert.equal(used(), [0, 0]);
        const cookie = cookieOf(yield* lock(solaris, 3)); // equal is allowed
        assert.equal(used(), [3, 3]);
        assert.is(proc.p_locked_mem, 3 * PAGE_SIZE);
        assert.is(yield* lock(solaris, 1), ENOMEM);
        solaris.ddi_umem_unlock(cookie);
        assert.equal(used(), [0, 0]);
        assert.is(proc.p_locked_mem, 0);
      },
      { project, zone },
    );
  }
});

test('ULOCK-06 ULOCK-07 the limit refuses before the memory is looked at, and what memory refuses is not charged', async () => {
  const solaris = await boot();
  const { project, zone, used } = limits(2, 8);
  asUser(
    solaris,
    function* (as) {
      yield* filled(solaris, as, 1);
      assert.is(yield* lock(solaris, 3), ENOMEM); // and two of its pages are not there
      assert.is(yield* lock(solaris, 2), EFAULT);
      assert.is(yield* lock(solaris, 0), EFAULT);
      assert.equal(used(), [0, 0]);
    },
    { project, zone },
  );
});

test('ULOCK-20 a limit without deny refuses nothing but an overflow', async () => {
  const solaris = await boot();
  const { project, zone, used } = limits(1, Infinity);
  project.max_locked_memory.action = 'none';
  asUser(
    solaris,
    function* (as) {
      yield* filled(solaris, as, 2);
      const cookie = cookieOf(yield* lock(solaris, 2));
      assert.equal(used(), [2, 2]);
      assert.is(yield* lock(solaris, 2 ** 52 - 1), ENOMEM); // would be counted, if it were not too much to count
      solaris.ddi_umem_unlock(cookie);
    },
    { project, zone },
  );
});

test('ULOCK-20 the account is that of the process that asks, shared with its project and zone', async () => {
  const solaris = await boot();
  const { project, zone, used } = limits(2, 100);
  const { kernel } = solaris;
  const results: (number | string)[] = [];
  const hold = function* (): Sleeps<void> {
    const as = must(kernel.curproc.p_as);
    yield* filled(solaris, as, 2);
    const got = yield* lock(solaris, 2);
    results.push(typeof got === 'number' ? got : 'locked');
    yield* kernel.scheduler.delay(1000);
    if (typeof got !== 'number') solaris.ddi_umem_unlock(got);
  };
  kernel.spawnProcess('a', hold, { project, zone });
  kernel.spawnProcess('b', hold, { project, zone });
  kernel.spawnProcess('c', hold, { project: limits(2, 1).project, zone });
  kernel.scheduler.run();
  assert.equal(results, ['locked', ENOMEM, 'locked']);
  assert.equal(used(), [0, 0]);
});

test('ULOCK-21 the same memory locked twice is charged twice', async () => {
  const solaris = await boot();
  const { project, zone, used } = limits(5, 8);
  asUser(
    solaris,
    function* (as) {
      yield* filled(solaris, as, 2);
      const cookies = [cookieOf(yield* lock(solaris, 2)), cookieOf(yield* lock(solaris, 2))];
      assert.equal(used(), [4, 4]);
      assert.is(yield* lock(solaris, 2), ENOMEM);
      for (const cookie of cookies) solaris.ddi_umem_unlock(cookie);
      assert.equal(used(), [0, 0]);
    },
    { project, zone },
  );
});

test('ULOCK-22 what is locked without limits is never counted', async () => {
  const solaris = await boot();
  const { project, zone, used } = limits(Infinity, Infinity);
  asUser(
    solaris,
    function* (as, proc) {
      yield* filled(solaris, as, 2);
      const early = cookieOf(yield* lock(solaris, 2));
      assert.equal(used(), [0, 0]);
      project.max_locked_memory.limit = 2 * PAGE_SIZE;
      const late = cookieOf(yield* lock(solaris, 2)); // the first does not count
      assert.equal(used(), [2, 2]);
      solaris.ddi_umem_unlock(early);
      assert.equal(used(), [2, 2]); // and gives nothing back
      project.max_locked_memory.limit = Infinity;
      solaris.ddi_umem_unlock(late);
      assert.equal(used(), [0, 0]);
      assert.is(proc.p_locked_mem, 0);
    },
    { project, zone },
  );
});

test('ULOCK-23 the charge goes back to who locked, whoever unlocks', async () => {
  const solaris = await boot();
  const { project, zone, used } = limits(5, 5);
  const { kernel } = solaris;
  asUser(
    solaris,
    function* (as, proc) {
      yield* filled(solaris, as, 2);
      const cookie = cookieOf(yield* lock(solaris, 2));
      const other = kernel.spawnProcess('other', function* (its) {
        solaris.ddi_umem_unlock(cookie);
        return its.p_locked_mem;
      });
      assert.is(yield* kernel.scheduler.join(other), 0);
      assert.equal(used(), [0, 0]);
      assert.is(proc.p_locked_mem, 0);
    },
    { project, zone },
  );
});
