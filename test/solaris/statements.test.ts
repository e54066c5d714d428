// The statements of Solaris's specification that are implemented.

import { checkStatements } from '../statements.ts';

checkStatements({
  name: "Solaris's specification",
  heading: "## Statements of Solaris's specification that are not followed",
  tests: (path) => path.startsWith('solaris'),
  statements: [
    ['UALLOC-', 1, 9],
    ['UFREE-', 1, 4],
    ['ULOCK-', 1, 23],
    ['UUNLOCK-', 1, 7],
    ['UMEM-', 1, 3],
    ['UMEM-', 7, 7],
    ['IOSETUP-', 1, 17],
    ['BUF-', 1, 6],
    ['CLONE-', 1, 7],
    ['BIO-', 1, 12],
    ['MAPIN-', 1, 7],
    ['PLOCK-', 1, 4],
    ['UIO-', 1, 5],
    ['PHYS-', 1, 14],
    ['APHYS-', 1, 1],
    ['SORT-', 1, 6],
    ['HDL-', 1, 8],
    ['BIND-', 1, 7],
    ['BIND-', 10, 17],
    ['BNC-', 1, 7],
    ['CKE-', 1, 6],
    ['WIN-', 1, 10],
    ['WIN-', 20, 27],
    ['CKI-', 1, 3],
    ['SYNC-', 1, 13],
    ['UNB-', 1, 3],
    ['MEM-', 1, 8],
    ['CB-', 1, 7],
  ],
});
