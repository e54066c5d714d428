import { createMachine } from '../../src/machine/index.ts';
import { bootSolaris, KM_NOSLEEP, KM_SLEEP, Pointer, Project, Zone } from '../../src/solaris/index.ts';
import { assert, suite } from '../run/suite.ts';
import { assertBug, boot, inInterrupt, inThread } from './help.ts';

const test = suite('solaris kernel');

test('the current process is that of the running thread, p0 for threads of the kernel', async () => {
  const { kernel } = await boot();
  assert.is(kernel.curthread, null);
  assert.is(kernel.curproc, kernel.p0);
  const project = new Project(10);
  const zone = new Zone('web');
  const first = kernel.spawnProcess(
    'dd',
    function* (proc, as) {
      assert.is(kernel.curproc, proc);
      assert.is(proc.p_as, as);
      const second = kernel.spawnProcess<boolean>(
        'dd',
        function* () {
          return kernel.curproc === proc;
        },
        { proc },
      );
      return [proc.p_project === project, proc.p_zone === zone, yield* kernel.scheduler.join(second)];
    },
    { project, zone },
  );
  kernel.scheduler.run({ until: first });
  assert.equal(first.exitValue, [true, true, true]);
  assert.is(
    kernel.scheduler.complete('thread', function* () {
      return kernel.curproc === kernel.p0;
    }),
    true,
  );
});

test('a call whose yield* was forgotten is found, when asked for', async () => {
  const solaris = await boot({ trackSleeps: true });
  const bug = assertBug('sleep-forgotten', () =>
    inThread(solaris, function* () {
      // oxlint-disable-next-line typescript/no-floating-promises -- so is this
      solaris.getrbuf(KM_SLEEP);
    }),
  );
  assert.match(bug.where, 'buf.getrbuf');
});

test('small objects: KM_NOSLEEP fails, KM_SLEEP waits until there is memory', async () => {
  const solaris = await boot();
  const { kernel } = solaris;
  kernel.kmemFailures.set({ every: 1 });
  assert.is(
    inThread(solaris, () => solaris.kmem_take('thing', KM_NOSLEEP)),
    false,
  );
  assert.is(solaris.kmem_in_use().size, 0);
  const before = kernel.scheduler.now();
  const task = kernel.scheduler.spawn('sleeper', () => solaris.kmem_take('thing', KM_SLEEP));
  kernel.scheduler.run({ untilNs: before + 3e9 });
  assert.is(task.exitValue, undefined);
  kernel.kmemFailures.off();
  kernel.scheduler.run({ until: task });
  assert.is(task.exitValue, true);
  assert.equal([...solaris.kmem_in_use()], [['thing', 1]]);
  solaris.kmem_give('thing');
  assertBug('kmem-free', () => solaris.kmem_give('thing'));
  assertBug('ctx-sleep', () =>
    inInterrupt(solaris, () => kernel.scheduler.atomic(solaris.kmem_take('thing', KM_SLEEP))),
  );
});

test('an argument that C would return through has a value, or it is a mistake to ask for it', () => {
  const pointer = new Pointer<number>();
  assertBug('null-pointer', () => pointer.deref);
  pointer.value = 0;
  assert.is(pointer.deref, 0);
});

test('options that cannot be are refused, with what would be right', async () => {
  const machine = await createMachine({ ram: 'small' });
  for (const dmaCopyBufferBytes of [0, 8191, Number.NaN])
    assert.throws(
      () => bootSolaris(machine, { dmaCopyBufferBytes }),
      new RegExp(`dmaCopyBufferBytes is ${dmaCopyBufferBytes}; it must be two pages at least, 8192`),
    );
});
