"""Training steps of the models of the papers as their own code takes them, written anew from docs/methods.md.

Each function takes a bag (N, d) and its label () and returns a step: the loss and its backward pass, in plain torch.
"""

import math
from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn.functional import (
    binary_cross_entropy_with_logits,
    cross_entropy,
    dropout,
    one_hot,
    pad,
    scaled_dot_product_attention,
)

CLASSES = 2

Step = Callable[[], Tensor]


def abmil(features: Tensor, label: Tensor) -> Step:
    """docs/methods.md §3, plain, in the harness."""
    return _abmil(features, label, gated=False)


def abmil_gated(features: Tensor, label: Tensor) -> Step:
    """docs/methods.md §3, gated as in the paper, in the harness."""
    return _abmil(features, label, gated=True)


def _abmil(features: Tensor, label: Tensor, *, gated: bool) -> Step:
    embed = nn.Sequential(nn.Linear(features.shape[1], 512), nn.ReLU(), nn.Dropout(0.25))
    hidden = nn.Sequential(nn.Linear(512, 128), nn.Tanh())
    gate = nn.Sequential(nn.Linear(512, 128), nn.Sigmoid())
    score, head = nn.Linear(128, 1), nn.Linear(512, CLASSES)

    def step() -> Tensor:
        embedded = embed(features)
        inner = hidden(embedded) * gate(embedded) if gated else hidden(embedded)
        attention = torch.softmax(score(inner).T, dim=-1)
        return _backward(cross_entropy(head(attention @ embedded), label[None]), embed, hidden, gate, score, head)

    return step


def transformer(features: Tensor, label: Tensor) -> Step:
    """docs/methods.md §17: every token goes through both layers; the attention is torch's fused one."""
    embed = nn.Sequential(nn.Linear(features.shape[1], 512), nn.ReLU(), nn.Dropout(0.25))
    token = nn.Embedding(1, 512)
    layers = nn.ModuleList(_TransformerLayer() for _ in range(2))
    head = nn.Sequential(nn.LayerNorm(512), nn.Linear(512, CLASSES))

    def step() -> Tensor:
        tokens = torch.cat([token.weight, embed(features)])[None]
        for layer in layers:
            tokens = layer(tokens)
        return _backward(cross_entropy(head(tokens[:, 0]), label[None]), embed, token, layers, head)

    return step


class _TransformerLayer(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.norm, self.qkv, self.out = nn.LayerNorm(512), nn.Linear(512, 3 * 512, bias=False), nn.Linear(512, 512)
        self.feed_forward = nn.Sequential(nn.LayerNorm(512), nn.Linear(512, 512), nn.GELU(), nn.Linear(512, 512))

    def forward(self, tokens: Tensor) -> Tensor:
        parts = self.qkv(self.norm(tokens)).chunk(3, dim=-1)
        queries, keys, values = (part.unflatten(-1, (8, 64)).transpose(1, 2) for part in parts)
        attended = scaled_dot_product_attention(queries, keys, values).transpose(1, 2).flatten(2)
        tokens = tokens + self.out(attended)
        found: Tensor = tokens + self.feed_forward(tokens)
        return found


def dsmil(features: Tensor, label: Tensor) -> Step:
    """docs/methods.md §4, the official form: the queries of the critical instances are computed once more."""
    dim = features.shape[1]
    instance = nn.Linear(dim, CLASSES)
    query = nn.Sequential(nn.Linear(dim, 128), nn.ReLU(), nn.Linear(128, 128), nn.Tanh())
    head = nn.Conv1d(CLASSES, CLASSES, kernel_size=dim)
    wanted = one_hot(label, CLASSES).float()

    def step() -> Tensor:
        scores = instance(features)
        _, order = torch.sort(scores, 0, descending=True)
        queries = query(features)
        critical = query(torch.index_select(features, 0, order[0]))
        attention = torch.softmax(queries @ critical.T / 128**0.5, 0)
        logits = head((attention.T @ features)[None]).view(-1)
        largest, _ = torch.max(scores, 0)
        loss = (
            binary_cross_entropy_with_logits(logits, wanted) / 2 + binary_cross_entropy_with_logits(largest, wanted) / 2
        )
        return _backward(loss, instance, query, head)

    return step


def clam_sb(features: Tensor, label: Tensor) -> Step:
    """docs/methods.md §5 with one branch."""
    return _clam(features, label, branches=1)


def clam_mb(features: Tensor, label: Tensor) -> Step:
    """docs/methods.md §5 with a branch for each class."""
    return _clam(features, label, branches=CLASSES)


def _clam(features: Tensor, label: Tensor, branches: int) -> Step:
    embed = nn.Sequential(nn.Linear(features.shape[1], 512), nn.ReLU(), nn.Dropout(0.25))
    gate_a = nn.Sequential(nn.Linear(512, 256), nn.Tanh(), nn.Dropout(0.25))
    gate_b = nn.Sequential(nn.Linear(512, 256), nn.Sigmoid(), nn.Dropout(0.25))
    gate_c = nn.Linear(256, branches)
    heads = nn.ModuleList([nn.Linear(512, CLASSES)] if branches == 1 else [nn.Linear(512, 1) for _ in range(branches)])
    tellers = nn.ModuleList(nn.Linear(512, 2) for _ in range(CLASSES))

    def step() -> Tensor:
        embedded = embed(features)
        scores = (gate_a(embedded) * gate_b(embedded)) @ gate_c.weight.T + gate_c.bias
        attention = torch.softmax(scores.T, dim=1)
        own = attention[int(label) if branches > 1 else 0]
        most = torch.index_select(embedded, 0, torch.topk(own, 8)[1])
        least = torch.index_select(embedded, 0, torch.topk(-own, 8)[1])
        told = tellers[int(label)](torch.cat([most, least]))
        targets = torch.cat([torch.ones(8), torch.zeros(8)]).long()
        instance_loss = _smooth_svm(told, targets)
        pooled = attention @ embedded
        logits = heads[0](pooled)[0] if branches == 1 else torch.cat([heads[c](pooled[c]) for c in range(CLASSES)])
        loss = 0.7 * cross_entropy(logits[None], label[None]) + 0.3 * instance_loss
        return _backward(loss, embed, gate_a, gate_b, gate_c, heads, tellers)

    return step


def _smooth_svm(scores: Tensor, labels: Tensor) -> Tensor:
    margins = scores + (1 - one_hot(labels, scores.shape[1])) - scores.gather(1, labels[:, None])
    return torch.logsumexp(margins, dim=1).mean()


def transmil(features: Tensor, label: Tensor) -> Step:
    """docs/methods.md §6."""
    embed = nn.Sequential(nn.Linear(features.shape[1], 512), nn.ReLU())
    core = _Transformer(squared=True)
    head = nn.Linear(512, CLASSES)

    def step() -> Tensor:
        feature, _ = core(embed(features))
        return _backward(cross_entropy(head(feature)[None], label[None]), embed, core, head)

    return step


def mhim(features: Tensor, label: Tensor) -> Step:
    """docs/methods.md §9 with the attention core and the masks of CAMELYON16, at the start of training."""
    return _mhim(
        features, label, _Attention, lambda weights: _hidden(weights, random=0.5, low=0.0, high=0.01, part=0.5)
    )


def mhim_selfattn(features: Tensor, label: Tensor) -> Step:
    """docs/methods.md §9 with the TransMIL core and its masks of CAMELYON16."""
    return _mhim(
        features, label, _Transformer, lambda weights: _hidden(weights, random=0, low=0.8, high=0.03, part=0.5)
    )


class _Attention(nn.Module):
    """Embedded instances (N, 512) -> the feature (512,) and the attention (1, N)."""

    def __init__(self) -> None:
        super().__init__()
        self.score = nn.Sequential(nn.Linear(512, 128, bias=False), nn.ReLU(), nn.Linear(128, 1, bias=False))

    def forward(self, embedded: Tensor) -> tuple[Tensor, Tensor]:
        attention = torch.softmax(self.score(embedded).T, dim=-1)
        return (attention @ embedded)[0], attention


class _Nystrom(nn.Module):
    """All tokens attend, through landmarks, and the maps are held as a whole."""

    def __init__(self) -> None:
        super().__init__()
        self.to_qkv = nn.Linear(512, 1536, bias=False)
        self.to_out = nn.Sequential(nn.Linear(512, 512), nn.Dropout(0.1))
        self.res_conv = nn.Conv2d(8, 8, (33, 1), padding=(16, 0), groups=8, bias=False)

    def forward(self, tokens: Tensor) -> tuple[Tensor, Tensor]:
        """(n, 512) -> what each takes up, and how the first one weighs the others (8, n - 1)."""
        given = len(tokens)
        padded = pad(tokens, (0, 0, -given % 256, 0))
        q, k, v = (x.view(-1, 8, 64).transpose(0, 1) for x in self.to_qkv(padded).chunk(3, dim=-1))
        q = q * 64**-0.5
        q_marks, k_marks = (x.reshape(8, 256, -1, 64).sum(2) / (len(padded) // 256) for x in (q, k))
        first, middle, last = (
            torch.softmax(one @ other.transpose(1, 2), dim=-1)
            for one, other in ((q, k_marks), (q_marks, k_marks), (q_marks, k))
        )
        inverse = _inverse(middle)
        mixed = (first @ inverse) @ (last @ v) + self.res_conv(v[None])[0]
        found = self.to_out(mixed.transpose(0, 1).reshape(-1, 512))[-given:]
        weights = ((first[:, -given, None] @ inverse) @ last)[:, 0, 1 - given :]
        return found, weights


def _inverse(matrices: Tensor) -> Tensor:
    rows, columns = matrices.abs().sum(-1), matrices.abs().sum(-2)
    found, one = matrices.transpose(1, 2) / (rows.max() * columns.max()), torch.eye(256)[None]
    for _ in range(6):
        product = matrices @ found
        found = 0.25 * found @ (13 * one - product @ (15 * one - product @ (7 * one - product)))
    return found


class _Transformer(nn.Module):
    """Embedded instances (N, 512) -> the feature (512,) and the weights of the first layer (8, N)."""

    def __init__(self, squared: bool = False) -> None:
        super().__init__()
        self.squared = squared
        self.token = nn.Parameter(torch.randn(1, 512))
        self.norms = nn.ModuleList(nn.LayerNorm(512) for _ in range(3))
        self.layers = nn.ModuleList(_Nystrom() for _ in range(2))
        self.convolutions = nn.ModuleList(nn.Conv2d(512, 512, k, padding=k // 2, groups=512) for k in (7, 5, 3))

    def forward(self, embedded: Tensor) -> tuple[Tensor, Tensor]:
        side = math.ceil(math.sqrt(len(embedded)))
        lacking = side * side - len(embedded)
        if self.squared:
            embedded = torch.cat([embedded, embedded[:lacking]])
        tokens = torch.cat([self.token, embedded])
        taken, weights = self.layers[0](self.norms[0](tokens))
        tokens = tokens + taken
        rest = tokens[1:] if self.squared else torch.cat([tokens[1:], tokens[1 : 1 + lacking]])
        grid = rest.T.reshape(1, 512, side, side)
        grid = grid + sum(convolution(grid) for convolution in self.convolutions)
        tokens = torch.cat([tokens[:1], grid.flatten(2)[0].T[: len(embedded)]])
        tokens = self.norms[2](tokens + self.layers[1](self.norms[1](tokens))[0])
        return tokens[0], weights


def _mhim(features: Tensor, label: Tensor, core: Callable[[], nn.Module], hide: Callable[[Tensor], Tensor]) -> Step:
    """Both see, and embed, the whole bag, with dropout; then the student loses what is hidden."""
    student, teacher = (
        nn.ModuleList([nn.Linear(features.shape[1], 512), core(), nn.Linear(512, CLASSES)]) for _ in range(2)
    )

    def step() -> Tensor:
        with torch.no_grad():
            target, weights = teacher[1](dropout(torch.relu(teacher[0](features)), 0.25))
            hidden = hide(weights)
        embedded = dropout(torch.relu(student[0](features)), 0.25)
        left = sorted(set(range(len(features))) - set(hidden.tolist()))
        feature, _ = student[1](torch.gather(embedded, 0, torch.tensor(left)[:, None].repeat(1, 512)))
        loss = cross_entropy(student[2](feature)[None], label[None])
        loss = loss - 0.1 * (torch.softmax(target / 0.1, -1) * torch.log_softmax(feature, -1)).sum()
        found = _backward(loss, student)
        for mean, weight in zip(teacher.parameters(), student.parameters(), strict=True):
            mean.data = mean.data * 0.9999 + weight.detach() * 0.0001
        return found

    return step


def _hidden(weights: Tensor, *, random: float, low: float, high: float, part: float) -> Tensor:
    """What is masked by the heads' votes: any, of low attention, of high attention."""
    count = weights.shape[1]
    highest = _voted(weights, math.ceil(high * count / part), largest=True)
    found = [highest[torch.randperm(len(highest))[: math.ceil(part * len(highest))]]]
    if random:
        order = _voted(weights, count, largest=False)
        found.append(order[torch.randperm(count)[: math.ceil(random * count)]])
    if low:
        found.append(_voted(weights, math.ceil(low * count), largest=False))
    return torch.unique(torch.cat(found))


def _voted(weights: Tensor, number: int, *, largest: bool) -> Tensor:
    chosen = torch.topk(weights, number, largest=largest)[1]
    if len(weights) == 1:
        return chosen[0]
    votes = torch.zeros(weights.shape[1])
    for row in chosen:
        votes[row] += 1
    return torch.topk(votes, number)[1]


def _backward(loss: Tensor, *parts: nn.Module) -> Tensor:
    """The gradients of a loss, after those of the step before are gone."""
    for part in parts:
        part.zero_grad(set_to_none=True)
    loss.backward()  # type: ignore[no-untyped-call]
    return loss.detach()


def dtfd(features: Tensor, label: Tensor) -> Step:
    """docs/methods.md §7, AFS: group by group, every instance ranked; tier 2's gradient goes through tier 1 as well."""
    reduction = nn.Sequential(nn.Linear(features.shape[1], 512, bias=False), nn.ReLU())
    first, second = _Gated(), _Gated()
    tell, decide = nn.Linear(512, CLASSES), nn.Linear(512, CLASSES)

    def step() -> Tensor:
        for module in (reduction, first, second, tell, decide):
            module.zero_grad(set_to_none=True)
        pseudo, said = [], []
        for members in torch.randperm(len(features)).tensor_split(4):
            embedded = reduction(torch.index_select(features, 0, members))
            weighted = torch.softmax(first(embedded).T, dim=1)[0][:, None] * embedded
            pooled = weighted.sum(dim=0, keepdim=True)
            said.append(tell(pooled))
            scores = torch.softmax(weighted @ tell.weight.T, dim=1)
            torch.sort(scores[:, -1], descending=True)
            pseudo.append(pooled)
        loss = cross_entropy(torch.cat(said), label.expand(4))
        loss.backward(retain_graph=True)  # type: ignore[no-untyped-call]
        distilled = torch.cat(pseudo)
        bag = cross_entropy(decide(torch.softmax(second(distilled).T, dim=1) @ distilled), label[None])
        bag.backward()  # type: ignore[no-untyped-call]
        return (loss + bag).detach()

    return step


def ibmil(features: Tensor, label: Tensor) -> Step:
    """docs/methods.md §8, stage two in the harness, its dictionary of eight."""
    embed = nn.Sequential(nn.Linear(features.shape[1], 512), nn.ReLU(), nn.Dropout(0.25))
    attend = nn.Sequential(nn.Linear(512, 128), nn.Tanh(), nn.Linear(128, 1))
    query, key, head = nn.Linear(512, 128), nn.Linear(512, 128), nn.Linear(1024, CLASSES)
    dictionary, wanted = torch.randn(8, 512), one_hot(label, CLASSES).float()[None]

    def step() -> Tensor:
        for module in (embed, attend, query, key, head):
            module.zero_grad(set_to_none=True)
        embedded = embed(features)
        bag = torch.softmax(attend(embedded).T, dim=-1) @ embedded
        answers = torch.softmax(key(dictionary) @ query(bag).T / 128**0.5, dim=0)
        logits = head(torch.cat([bag, answers.T @ dictionary], dim=1))
        loss = binary_cross_entropy_with_logits(logits, wanted)
        loss.backward()  # type: ignore[no-untyped-call]
        return loss.detach()

    return step


class _Gated(nn.Module):
    """tanh ⊙ sigmoid, 512 -> 128 -> 1, with biases."""

    def __init__(self) -> None:
        super().__init__()
        self.v, self.u, self.w = nn.Linear(512, 128), nn.Linear(512, 128), nn.Linear(128, 1)

    def forward(self, embedded: Tensor) -> Tensor:
        found: Tensor = self.w(torch.tanh(self.v(embedded)) * torch.sigmoid(self.u(embedded)))
        return found
