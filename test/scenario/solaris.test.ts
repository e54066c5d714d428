// Scenarios on Solaris, and disks that go from one part, and one kernel, to the next.

import { sha256 } from '../../src/cli/input.ts';
import { CONTROLLERS } from '../../src/controllers/index.ts';
import { loadModule } from '../../src/machine/index.ts';
import { overlay, ramMedium } from '../../src/media/index.ts';
import { type RunReport, toJson } from '../../src/scenario/report.ts';
import { type RunOptions, runScenario } from '../../src/scenario/run.ts';
import { parseScenario } from '../../src/scenario/schema.ts';
import type { AnyEvent } from '../../src/trace/index.ts';
import { assert, suite } from '../run/suite.ts';
import { numbers } from './numbers.ts';

const test = suite('scenarios on solaris');

const BYTES = 300_001;
const source = numbers(BYTES);

async function play(scenario: object, options: Partial<RunOptions> = {}): Promise<RunReport> {
  const parsed = parseScenario({ name: 'test', kernel: 'solaris', ...scenario }, 'test');
  return runScenario(parsed, { module: await loadModule(), input: source, hash: sha256, ...options });
}

const problems = (report: RunReport): string[] => report.parts.flatMap((part) => part.problems);

/** Enough, and quickly made. */
const RAM = [
  { base: 0, bytes: 2 ** 22 },
  { base: 2 ** 32, bytes: 2 ** 22 },
];

const SHAPES = {
  'whole sectors in many ranges': [
    { offset: 512, bytes: 1024 },
    { offset: 0x204, bytes: 4096 },
    { offset: 0, bytes: 512 },
  ],
  'whole sectors at odd addresses': [
    { offset: 3, bytes: 2048 },
    { offset: 0xfff, bytes: 512 },
  ],
  'ranges that are no sectors': [
    { offset: 1, bytes: 100 },
    { offset: 700, bytes: 413 },
  ],
};

for (const controller of [
  'aha1542',
  'piix4',
  'ahci-1slot',
  'nvme-nosgl',
  'virtio-blk-segmax1',
  'lsi53c810',
]) {
  for (const [shape, iovec] of Object.entries(SHAPES)) {
    test(`${controller}: ${shape}, through both interfaces`, async () => {
      const operations = (['ddi_umem_iosetup', 'physio'] as const).flatMap((through) => [
        { op: 'write', through, iovec, bytes: 60_000 },
        { op: 'read', through, iovec, bytes: 60_000 },
      ]);
      const machine = { ram: RAM };
      const parts = [{ title: 'a', operations }];
      const report = await play({ controller, machine, requestBytes: 16384, parts });
      assert.equal(problems(report), []);
      assert.equal([report.ok, report.parts[0]?.readback.identical], [true, true]);
      assert.equal(report.parts[0]?.ways, ['ddi_umem_iosetup', 'physio']);
    });
  }
}

for (const { kind, profiles } of CONTROLLERS) {
  for (const { name } of profiles.filter(({ artificial }) => !artificial)) {
    test(`${name}: everything is written through one interface and read through the other`, async () => {
      const parts = [
        { title: 'a', operations: [{ op: 'write' }, { op: 'flush' }, { op: 'read', through: 'physio' }] },
        {
          title: 'b',
          disk: 1,
          operations: [
            { op: 'write', through: 'physio', sector: 7 },
            { op: 'read', sector: 7 },
          ],
        },
      ];
      const report = await play({ controller: name, userMemory: 'scattered', parts });
      assert.equal([report.controller, report.ok, problems(report)], [kind, true, []]);
      assert.equal(report.parts[0]?.readback.sha256, source.sha256);
    });
  }
}

test('what the report counts: pages that are locked, bounced, copied', async () => {
  const count = async (controller: string, iovec: object[] | undefined, userMemory = 'high') => {
    const operations = [{ op: 'write', bytes: 65536, ...(iovec === undefined ? {} : { iovec }) }];
    const report = await play({ controller, userMemory, parts: [{ title: 'a', operations }] });
    assert.equal(problems(report), []);
    const [part] = report.parts;
    return [
      part?.pages.user,
      part?.pages.direct,
      part?.pages.bounced,
      part?.copiedBytes,
      part?.requests,
      part?.commands,
    ];
  };
  assert.equal(await count('ahci', undefined), [16, 16, 0, 0, 1, 1]);
  assert.equal(await count('aha1542', undefined), [16, 0, 16, 65536, 1, 1]);
  assert.equal(await count('aha1542', undefined, 'low'), [16, 16, 0, 0, 1, 1]);
  const odd = [{ offset: 1, bytes: 65536 }];
  assert.equal(await count('ahci', odd), [17, 0, 0, 65536, 1, 1]); // AHCI takes even addresses
  assert.equal(await count('aha1542', odd), [17, 0, 17, 65536, 1, 1]);
  const parts = [{ offset: 0, bytes: 100 }];
  assert.equal(await count('ahci', parts), [0, 0, 0, 65536, 1, 1]);
});

test('the list that the report shows is of the pages that stand for the user’s', async () => {
  const operations = [{ op: 'write', bytes: 16384 }];
  const report = await play({ controller: 'aha1542', parts: [{ title: 'a', operations }] });
  const [part] = report.parts;
  assert.equal(
    part?.firstList.map(({ bus, bytes, reachable }) => [bus < 2 ** 24, bytes, reachable]),
    [0, 1, 2, 3].map(() => [true, 4096, true]),
  );
  assert.equal(
    part?.firstPages.map(({ kind, device }) => [kind, device]),
    part?.firstList.map(({ bus }) => ['bounced', bus]),
  );
  const zones = part?.zones ?? [];
  assert.is(
    zones.reduce((sum, { bouncePages }) => sum + bouncePages, 0),
    4,
  );
});

test('events tell the way of a byte, from the lock to the unbinding', async () => {
  const events: AnyEvent[] = [];
  const operations = [{ op: 'read', bytes: 4096 }];
  await play(
    { controller: 'aha1542', parts: [{ title: 'a', operations, expect: { identical: false } }] },
    {
      onEvent: (event) => void events.push(event),
    },
  );
  const names = events.map(({ name }) => name);
  const from = names.indexOf('pin');
  const way = names.slice(from).filter((name) => !/register|^dma$|^irq$|^interrupt$|^msi$/.test(name));
  assert.equal(way.slice(0, 12), [
    'pin',
    'buf_start',
    'page_use',
    'dma_bind',
    'dma_cookie',
    'driver_submit',
    'command',
    'media',
    'complete',
    'driver_done',
    'copy',
    'dma_unbind',
  ]);
  assert.is(way[12], 'buf_done');
  const cookie = events.slice(from).find(({ name }) => name === 'dma_cookie');
  assert.ok(cookie?.name === 'dma_cookie' && cookie.fields.bus < 2 ** 24 && cookie.fields.memory >= 2 ** 32);
});

test('a request that fails is counted, and says its errno', async () => {
  const faults = [{ kind: 'error', operations: ['read'], first: 10, last: 10 }];
  const operations = [{ op: 'write' }, { op: 'read' }, { op: 'read', through: 'physio' }];
  const expect = { failedRequests: 2, identical: false };
  const report = await play({ controller: 'nvme', faults, parts: [{ title: 'a', operations, expect }] });
  assert.equal([report.ok, problems(report)], [true, []]);
  const strict = await play({ controller: 'nvme', faults, parts: [{ title: 'a', operations }] });
  assert.match(problems(strict)[0] ?? '', /read at sector 0 failed with errno 5/);
});

const MOVE = [{ op: 'write' }, { op: 'read' }];
const READ = [{ op: 'read' }, { op: 'read', through: 'physio' }];

for (const sectorBytes of [512, 4096]) {
  test(`a disk with sectors of ${sectorBytes} goes from kernel to kernel and back`, async () => {
    const operations = [
      { op: 'write', sector: 3, bytes: 100_000 },
      { op: 'read', sector: 3, bytes: 100_000 },
    ];
    const again = [{ op: 'read', sector: 3, bytes: 100_000 }];
    const report = await play({
      controller: 'ahci-32bit',
      disk: { sectorBytes },
      parts: [
        { title: 'a', kernel: 'linux', operations },
        { title: 'b', disk: 1, operations: again },
        { title: 'c', disk: 2, operations: [{ op: 'write', sector: 3, offset: 100_001, bytes: 100_000 }] },
        { title: 'd', disk: 3, kernel: 'linux', operations: [{ ...again[0], offset: 100_001 }] },
        { title: 'e', disk: 1, kernel: 'linux', operations: again },
        { title: 'f', operations: again, expect: { identical: false } },
      ],
    });
    assert.equal(problems(report), []);
    assert.equal(
      report.parts.map(({ kernel }) => kernel),
      ['linux', 'solaris', 'solaris', 'linux', 'linux', 'solaris'],
    );
  });
}

test('a medium of the caller’s goes on, too, and a mistake does not write to it', async () => {
  const base = ramMedium(2 ** 20);
  const media: unknown[] = [];
  const medium = () => {
    const made = overlay(base);
    media.push(made);
    return made;
  };
  const mistake = { findings: ['map-mask', 'dev-unmapped'], identical: false };
  const report = await play(
    {
      controller: 'aha1542',
      parts: [
        { title: 'a', kernel: 'linux', operations: MOVE },
        { title: 'b', disk: 1, operations: READ },
        { title: 'c', disk: 1, bounce: false, operations: MOVE, expect: mistake },
        { title: 'd', disk: 1, operations: READ },
      ],
    },
    { medium },
  );
  assert.equal(problems(report), []);
  assert.is(media.length, 1);
});

test('the disk of a part that was not run cannot be had', async () => {
  const parts = [
    { title: 'a', when: 'out-of-reach', operations: MOVE },
    { title: 'b', disk: 1, operations: READ },
  ];
  try {
    await play({ controller: 'nvme', parts });
    assert.unreachable();
  } catch (error) {
    assert.is((error as Error).message, '"b" wants the disk of part 1, which was not run');
  }
});

test('a part’s kernel and ways are in the JSON', async () => {
  const report = await play({
    controller: 'ahci',
    parts: [
      { title: 'a', kernel: 'linux', operations: MOVE },
      { title: 'b', disk: 1, operations: READ },
    ],
  });
  const { kernel, parts } = toJson(report) as {
    kernel: string;
    parts: { kernel: string; ways?: string[] }[];
  };
  assert.equal(
    [kernel, ...parts.map((part) => [part.kernel, part.ways])],
    ['linux', ['linux', undefined], ['solaris', ['ddi_umem_iosetup', 'physio']]],
  );
});
