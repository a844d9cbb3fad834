import pytest
import torch

from actrec.models.conv3d import conv_bn, to_tokens


def test_tokens_are_places_row_by_row_averaged_over_time():
    maps = torch.arange(2 * 3 * 4 * 2 * 3).float().view(2, 3, 4, 2, 3)
    tokens = to_tokens(maps, None)
    assert tokens.shape == (2, 6, 3)
    for row in range(2):
        for column in range(3):
            assert torch.equal(tokens[:, 3 * row + column], maps[:, :, :, row, column].mean(dim=2))
    assert torch.allclose(tokens.mean(dim=1), maps.mean(dim=(2, 3, 4)))


def test_a_token_grid_averages_neighbours():
    maps = torch.arange(16).float().view(1, 1, 1, 4, 4)
    assert to_tokens(maps, [2, 2]).flatten().tolist() == [2.5, 4.5, 10.5, 12.5]
    assert to_tokens(maps, [2, 1]).flatten().tolist() == [3.5, 11.5]
    assert to_tokens(maps, [1, 1]).flatten().tolist() == [7.5]


@pytest.mark.parametrize(("norm", "relu", "names"), [(True, True, "conv bn relu"), (True, False, "conv bn")])
def test_parts_have_mmcv_s_names(norm, relu, names):
    layer = conv_bn(2, 3, (1, 3, 3), norm=norm, relu=relu)
    assert [name for name, _ in layer.named_children()] == names.split()
    assert layer(torch.zeros(2, 2, 4, 5, 6)).shape == (2, 3, 4, 5, 6)


def test_only_the_stride_makes_maps_smaller():
    maps = torch.zeros(1, 4, 8, 7, 6)
    assert conv_bn(4, 4, (5, 3, 1), groups=4)(maps).shape == (1, 4, 8, 7, 6)
    assert conv_bn(4, 2, (3, 7, 1), stride=(4, 2, 2))(maps).shape == (1, 2, 2, 4, 3)
